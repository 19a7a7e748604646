"""A clip becomes a run: source.mp4, the clip as every later stage sees it, and the run's manifest.

In reading order: `ingest` itself, what one pass over the clip finds (`_survey`), whether its frame rate is constant and
which it is (handoff/clip/rates.py), and how source.mp4 is made (`_make_source`).

source.mp4 has rotation applied, square pixels, a constant rate, even size, 8-bit yuv420p H.264 and no audio. A clip
that already is all that is copied; one that only carries more streams (audio) has its picture copied without encoding
it again.
"""

from __future__ import annotations

import shutil
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import av
import click
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from handoff.clip.colours import HLG, PQ, colours_of, has_false_matrix
from handoff.clip.conversion import Conversion
from handoff.clip.fields import fields_of
from handoff.clip.orientation import Orientation, orientation_of, stated_orientation
from handoff.clip.rates import RateMeter, Timing
from handoff.command import progress
from handoff.errors import InputError, UsageError
from handoff.files import atomic_file, scratch_dir, settle, sha256_file
from handoff.run import MANIFEST, SOURCE, Run, describe_output
from handoff.video import (
    ClipInfo,
    Frame,
    VideoWriter,
    check_is_file,
    decode,
    entries_of,
    frame_to_rgb,
    open_video,
    probe,
    read_frames,
    read_pictures,
)

CRF, FAST_CRF = 10, 8
"""x264 quality of a source.mp4 that had to be encoded again: visually lossless. The second is that of slow motion."""
FAST = 60
"""Frames a second above which a clip is slow motion: x264 spends less on a frame that is shown for a shorter time."""
CHROMA_OFFSET = -12
"""Its chroma's, finer: with luma's own, a saturated colour may come back 4 levels of 255 off; with this, 2."""


def ingest(path: Path, run_dir: Path, force: bool = False) -> Run:
    """Make (or find unchanged) the run folder of a clip: source.mp4 and run.json.

    Raises InputError for a clip that cannot be used, UsageError when the folder holds another clip and `force` is not
    set, StorageError when it cannot be written. With `force` another clip's folder is begun anew: what was made of the
    old one is taken away, once the new source.mp4 is ready to take its place. Where that comes out as it was, so do the
    records of what was made of it.
    """
    check_is_file(path)
    digest = sha256_file(path)
    run = _existing(path, digest, run_dir, force)
    if run:
        return run
    look = _survey(path)
    if look.timing.total != look.frames or look.timing.left_out:
        click.echo(
            f"warning: the clip's frame rate varies: its {look.frames} frames become {look.timing.total} at "
            f"{look.timing.fps} fps ({look.timing.repeated} repeated, {look.timing.left_out} left out).",
            err=True,
        )
    if look.hdr:
        click.echo("warning: the clip is HDR; its colours are not tone-mapped and will look flat.", err=True)
    if look.damaged:
        click.echo(f"warning: {_damage(look)}", err=True)
    run = Run(run_dir, {"name": run_dir.name})
    with run.lock():
        held = _existing(path, digest, run_dir, force)  # by another process meanwhile
        if held:
            return held
        with scratch_dir(run.source) as scratch:
            made = scratch / SOURCE
            done, info = _make_source(path, made, look)
            stages = _kept_stages(run_dir, made)
            settle(made, run.source)
        run.manifest["source"] = _describe(path, digest, look, info, done)
        run.manifest["stages"] = stages | {"ingest": {"outputs": [describe_output(run, run.source)]}}
        run.save()
    click.echo(f"source.mp4: {info.width}x{info.height} px, {info.frames} frames, {info.fps} fps ({done})")
    return run


def _existing(path: Path, digest: str, run_dir: Path, force: bool) -> Run | None:
    """Return the run when it already is this clip's; raise UsageError when it is another clip's."""
    if force or not (run_dir / MANIFEST).exists():
        return None
    run = Run.open(run_dir)
    held = run.manifest["source"]
    if held["sha256"] != digest:
        raise UsageError(
            f"the run {run_dir} holds another clip ({held['path']}, SHA-256 {held['sha256'][:12]}, {path} has "
            f"{digest[:12]}); give --run NAME for a new run, or --force to begin this one anew."
        )
    outputs = run.manifest["stages"].get("ingest", {}).get("outputs", [])
    recorded = [output["sha256"] for output in outputs if output["path"] == SOURCE]
    return run if run.source.is_file() and [sha256_file(run.source)] == recorded else None


def _kept_stages(run_dir: Path, made: Path) -> dict[str, Any]:
    """Return the records that are true of the new source.mp4 too; take away what is another one's. Under the lock."""
    if not (run_dir / MANIFEST).exists():
        return {}
    try:
        old = Run.open(run_dir)
    except InputError:  # what lies there has no record, and so counts for nothing
        return {}
    ingested = [each["sha256"] for each in old.manifest["stages"].get("ingest", {}).get("outputs", [])]
    if ingested == [sha256_file(made)]:
        return dict(old.manifest["stages"])
    old.take_back()
    return {}


def _describe(path: Path, digest: str, look: _Facts, info: ClipInfo, done: str) -> dict[str, Any]:
    stored = look.conversion
    return {
        "path": str(path.resolve()),
        "sha256": digest,
        "bytes": path.stat().st_size,
        "width": info.width,
        "height": info.height,
        "fps": f"{info.fps.numerator}/{info.fps.denominator}",
        "frames": info.frames,
        "done": done,
        "input": {
            "width": stored.width,
            "height": stored.height,
            "rotation": stored.orientation.rotation,
            "mirrored": stored.orientation.flipped,
            "pixel_aspect": str(stored.pixel_aspect),
            "frames": look.frames,
            "damaged": list(look.damaged),
        },
    }


_SHOWN_DAMAGE = 10


def _damage(look: _Facts) -> str:
    numbers = ", ".join(map(str, look.damaged[:_SHOWN_DAMAGE]))
    more = len(look.damaged) - _SHOWN_DAMAGE
    return (
        f"{len(look.damaged)} of the clip's {look.frames} frames are damaged, and the decoder patched them: "
        f"{numbers}{f' and {more} more' if more > 0 else ''}. What follows is built on them, up to the next key frame. "
        "Look at the masks there, or copy the clip again."
    )


@dataclass(frozen=True)
class _Facts:
    """What one pass over the input found."""

    conversion: Conversion  # of the stored picture into the shown one
    frames: int
    timing: Timing
    needs: tuple[str, ...]  # why the picture must be encoded again; empty when it need not
    other_streams: int
    hdr: bool
    checksums: array[int]  # of each picture, where it may be copied
    damaged: tuple[int, ...]  # the frames that the decoder could not read whole, and repaired


def _survey(path: Path) -> _Facts:
    with open_video(path) as (container, stream):
        if stream.time_base is None:
            raise InputError(f"{path} has no time base; convert it to an MP4 with a constant rate.")
        meter = RateMeter(Fraction(stream.time_base), _stated_rates(stream))
        first: VideoFrame | None = None
        checksums, copied = array("L"), "mp4" in container.format.name and stream.codec_context.name == "h264"
        interlaced, damaged, stated = 0, [], stream.codec_context.field_order
        for frame in progress(decode(path, container, stream), total=stream.frames or None, desc="look at clip"):
            if first is None:
                first = frame
            elif (frame.width, frame.height) != (first.width, first.height):
                raise InputError(
                    f"{path} changes its size from {first.width}x{first.height} to {frame.width}x{frame.height} px "
                    f"at frame {meter.frames}; convert it to one size."
                )
            elif stated_orientation(frame) not in (None, orientation_of(first)):
                raise InputError(
                    f"{path} changes its display matrix from {orientation_of(first)} to {orientation_of(frame)} at "
                    f"frame {meter.frames}; convert it to one orientation."
                )
            interlaced += frame.interlaced_frame
            damaged += [meter.frames] if frame.is_corrupt else []
            meter.feed(frame.pts)
            if copied and frame.format.name == "yuv420p" and not (frame.width % 2 or frame.height % 2):
                checksums.append(_checksum(frame))
        if first is None:
            raise InputError(f"{path} has a video stream with zero frames; give a clip with at least one.")
        orientation, colours = orientation_of(first), colours_of(first)
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        timing = meter.timing(str(path))
        codec = stream.codec_context
        fields = fields_of(codec.name, stated, interlaced, _decoded(path))
        checks = {
            "time stamps that go back or are missing": timing.repaired,
            "variable frame rate": not timing.exact,
            f"rate stated as {stream.average_rate}": timing.exact and timing.fps != stream.average_rate,
            str(orientation): orientation != Orientation(),
            "interlaced (bwdif made each frame of its first field)": fields != "",
            f"pixel aspect {aspect}": aspect != 1,
            f"odd size {first.width}x{first.height}": bool(first.width % 2 or first.height % 2),
            f"{codec.name} in {first.format.name}": (codec.name, first.format.name) != ("h264", "yuv420p"),
            f"matrix tagged {first.colorspace}": has_false_matrix(first),
            "full range": colours.full_range,
            f"container {container.format.name}": "mp4" not in container.format.name,
            "damaged frames": bool(damaged),  # that stages see one repair of them, and not each its own
        }
        return _Facts(
            Conversion(first.width, first.height, colours.limited(), orientation, aspect, fields),
            meter.frames,
            timing,
            tuple(reason for reason, found in checks.items() if found),
            len(container.streams) - 1,
            colours.transfer in (PQ, HLG),
            checksums,
            tuple(damaged),
        )


def _stated_rates(stream: VideoStream) -> list[Fraction]:
    return [Fraction(rate) for rate in (stream.average_rate, stream.base_rate, stream.guessed_rate) if rate]


def _make_source(path: Path, output: Path, look: _Facts) -> tuple[str, ClipInfo]:
    """Make source.mp4 in the gentlest way that gives what later stages need; return what was done, and what it is."""
    if not look.needs:
        if look.other_streams == 0:
            with atomic_file(output) as partial:
                shutil.copyfile(path, partial)
        else:
            _copy_packets(path, output)
        if _is_reached(output, look):
            done = "picture copied, other streams dropped" if look.other_streams else "copied"
            return done, ClipInfo(*look.conversion.size, look.timing.fps, look.frames)
    _encode(path, output, look)
    return "encoded again: " + ", ".join(look.needs or ("frames that are hidden or cannot be sought",)), probe(output)


def _is_reached(output: Path, look: _Facts) -> bool:
    """Say whether each frame of a copied clip is what it was, where a reader begins at each entry, not at the start."""
    with open_video(output) as (_, stream):
        if stream.average_rate != look.timing.fps:
            return False
    begins = [0, *entries_of(output).numbers]
    parts = [read_pictures(output, *part) for part in zip(begins, [*begins[1:], None], strict=True)]
    frames = progress(chain.from_iterable(parts), total=look.frames, desc=SOURCE)
    return array("L", map(_checksum, frames)) == look.checksums


def _checksum(frame: VideoFrame) -> int:
    return zlib.crc32(np.ascontiguousarray(frame.to_ndarray()).data)  # no copy: it would cost three times the rest


def _copy_packets(path: Path, output: Path) -> None:
    """Copy the picture's packets as they are into an MP4 with nothing else in it."""
    with (
        open_video(path) as (container, stream),
        atomic_file(output) as partial,
        partial.open("wb") as file,
        av.open(file, "w", format="mp4") as target,
    ):
        copy = target.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)


def _encode(path: Path, output: Path, look: _Facts) -> None:
    """Decode, convert and encode the picture; one frame in memory at a time."""
    made, fps = look.conversion, look.timing.fps
    crf = FAST_CRF if fps > FAST else CRF
    with VideoWriter(output, fps, *made.size, crf=crf, chroma_offset=CHROMA_OFFSET, colours=made.colours) as writer:
        for picture in _pictures(path, look, "source.mp4"):
            writer.write_picture(picture)


def shown_frames(path: Path) -> Iterator[Frame]:
    """Yield the frames of a clip as its source.mp4 has them, in number, size and colours, (H, W, 3) uint8 RGB.

    Only what encoding again changes is not there yet. Raises what `ingest` does for a clip that cannot be used.
    """
    look = _survey(path)
    if look.needs:
        return map(frame_to_rgb, _pictures(path, look, "read clip"))
    return read_frames(path)


def _pictures(path: Path, look: _Facts, what: str) -> Iterator[VideoFrame]:
    pictures = look.conversion.pictures(progress(_decoded(path), total=look.frames, desc=what))
    for picture, times in zip(pictures, look.timing.shown.tolist(), strict=True):
        yield from repeat(picture, times)


def _decoded(path: Path) -> Iterator[VideoFrame]:
    with open_video(path) as (container, stream):
        yield from decode(path, container, stream)
