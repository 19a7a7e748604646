"""Re-skin the object and the skater of a run through a ComfyUI server, and nothing else in the picture.

    from reskin import ComfyOrchestrator, find_node_by_class, upload_asset

They are imported when they are first used, so that `import reskin` and `--help` need none of their packages.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reskin.comfy.orchestrator import ComfyOrchestrator, upload_asset
    from reskin.workflow import find_node_by_class

__all__ = ["ComfyOrchestrator", "find_node_by_class", "upload_asset"]

_PLACES = {
    "ComfyOrchestrator": "reskin.comfy.orchestrator",
    "find_node_by_class": "reskin.workflow",
    "upload_asset": "reskin.comfy.orchestrator",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'reskin' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
