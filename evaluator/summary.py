"""summary.md: the result on one screen, in the Markdown that CI servers show as a job's summary."""

from __future__ import annotations

from evaluator.result import Result

MOST_ROWS = 20
_NAMES = {
    "boundary_f": ("boundary F", ".4f"),
    "leak": ("leak (of P outside G)", ".4f"),
    "gap": ("gap (of G not covered)", ".4f"),
    "clip": ("clip (of P on the skater)", ".4f"),
    "drift_px": ("drift of the centroid, px", ".2f"),
    "area_ratio": ("area, P to G", ".3f"),
    "one_px_iou": ("IoU that one pixel of error leaves", ".4f"),
    "floor_iou": ("noise floor: IoU of the source itself", ".4f"),
    "oks": ("skater: OKS", ".3f"),
    "pck": ("skater: PCK@0.2", ".3f"),
    "psnr_db": ("background: PSNR, dB", ".2f"),
    "ssim": ("background: SSIM", ".4f"),
}


def _figures(result: Result) -> list[str]:
    verdict = result.verdict
    rows = [
        "| figure | mean | worst | at frame |",
        "| --- | ---: | ---: | ---: |",
        f"| **IoU** | {verdict.mean:.4f} | {verdict.minimum:.4f} | {verdict.minimum_frame} |",
    ]
    if result.mean_seen is not None and result.mean_seen != verdict.mean:
        rows.append(f"| IoU where there is an object | {result.mean_seen:.4f} | | |")
    for key, found in result.figures().items():
        name, form = _NAMES[key]
        rows.append(f"| {name} | {found['mean']:{form}} | {found['worst']:{form}} | {found['frame']} |")
    return rows


def _failures(result: Result) -> list[str]:
    failed = [score for score in result.scores if not score.passed]
    if not failed:
        return []
    rows = ["", "| failing frame | IoU | floor | leak | gap | clip |", "| ---: | ---: | ---: | ---: | ---: | ---: |"]
    for score in failed[:MOST_ROWS]:
        floor, clip = ("" if value is None else f"{value:.4f}" for value in (score.floor_iou, score.clip))
        rows.append(f"| {score.frame} | {score.iou:.4f} | {floor} | {score.leak:.4f} | {score.gap:.4f} | {clip} |")
    if len(failed) > MOST_ROWS:
        rows.append(f"\n{len(failed) - MOST_ROWS} more failing frames are in iou.csv.")
    return rows


def summary_md(result: Result) -> str:
    """Return the summary: the verdict first, and what limits its worth right under it."""
    if not result.complete:
        head = f"Gate: not decided, cut short after {len(result.scores)} of {result.expected} frames (partial report)"
    elif result.passed:
        head = f"Gate: PASS, IoU > {result.threshold:g} in every one of {result.expected} frames"
    else:
        head = f"Gate: FAIL, {result.verdict.failed} of {result.expected} frames at or below {result.threshold:g}"
    how = f"{result.how['original']} against {result.how['generated']}"
    if "description" in result.how:
        how += f", tracked by: {result.how['description']}"
    lines = [f"## {head}", "", how, "", *(f"- {line}" for line in result.limits())]
    if not result.scores:
        return "\n".join([*lines, ""])
    verdict = result.verdict
    spread = (
        f"Recall at {result.threshold:g}: {verdict.recall:.4f}; decay: {verdict.decay:+.4f}; "
        f"J&F over all frames: {verdict.j_and_f:.4f}"
    )
    return "\n".join([*lines, "", *_figures(result), "", spread, *_failures(result), ""])
