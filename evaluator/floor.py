"""The noise floor: what IoU the second track gives on the source itself, encoded as the output was.

A frame that fails here fails by the ruler. It informs; the verdict never looks at it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from evaluator.metrics import intersection_over_union
from evaluator.retrack import Setup, retrack
from evaluator.sequence import read_mask_sequence
from handoff.errors import InputError, storage_errors
from handoff.progress import progress
from handoff.video import ClipInfo, VideoWriter, read_frames

USUAL_CRF = 12
"""x264's quality where no output.json says what the generated clip was encoded with: that of the reskin stage."""


def output_crf(generated: Path) -> int:
    """Return the CRF that the generated clip was encoded with, from output.json beside it, else USUAL_CRF."""
    record = generated.with_name("output.json")
    if not record.is_file():
        return USUAL_CRF
    try:
        encoder = json.loads(record.read_text(encoding="utf-8")).get("encoder", {})
        return int(encoder.get("crf", USUAL_CRF))
    except (ValueError, AttributeError) as error:
        raise InputError(f"{record} cannot be read ({error}); make the reskin again.") from error


def floor_ious(original: Path, source: Path, info: ClipInfo, setup: Setup, crf: int, folder: Path) -> Iterator[float]:
    """Encode the source again, track in it, and yield the IoU of each frame with the original mask.

    folder: where the encoded clip lies meanwhile; it is removed at the end.
    """
    work = folder / f".floor.{os.getpid()}.partial"  # a killed process's is cleared away with the other partial files
    try:
        with storage_errors(work):
            work.mkdir(parents=True, exist_ok=True)
        clip = work / "source.mp4"
        with VideoWriter(clip, info.fps, info.width, info.height, crf=crf) as writer:
            for frame in read_frames(source):
                writer.write(frame)
        pairs = zip(read_mask_sequence(original), retrack(clip, setup), strict=True)
        for truth, found in progress(pairs, total=info.frames, desc="calibrate"):
            yield intersection_over_union(truth, found)
    finally:
        shutil.rmtree(work, ignore_errors=True)
