"""The pose stage: the skater's skeleton in every frame, and how it is drawn for the video model.

    from posegen import SkaterPoseExtractor
    SkaterPoseExtractor(device="cuda", backend="onnxruntime").process_video("clip.mp4", "out/pose")

Begin with `cli` (what may be asked), `stage` (what one run does) and `extractor` (the class); `backend` says what
stands behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posegen.extractor import SkaterPoseExtractor

__all__ = ["SkaterPoseExtractor"]


def __getattr__(name: str) -> Any:
    """Load the class when it is first asked for: the command's help and refusals need none of what it brings."""
    if name not in __all__:
        raise AttributeError(f"module 'posegen' has no attribute '{name}'")
    from posegen.extractor import SkaterPoseExtractor

    return SkaterPoseExtractor
