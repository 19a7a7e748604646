"""make demo: a real clip with a known truth through every stage, and what came of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from runner import runs
from runner.comfy.comfysource import download
from runner.commands import run
from runner.envs import working
from runner.evaluate import evaluate
from runner.extract import extract
from runner.holds import held_folder, locked
from runner.process import ROOT, RunnerError
from runner.reskin import reskin
from runner.stages import start_stage

PROMPT = "cyberpunk drone, samurai"
CODE = ROOT / "demo"
ENCODER = ROOT / "handoff" / "video.py"


def _key() -> str:
    """What the clip's bytes depend on: the code that renders it and the code that encodes it."""
    digest = hashlib.sha256()
    for path in (*sorted([*CODE.glob("*.py"), CODE / "source.lock"]), ENCODER):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def demo_clip() -> Path:
    """Return the folder with demo.mp4, truth.mp4, truth/ and truth.json, making it where this code has not yet."""
    cache = runs.cache_dir()
    folder = cache / f"democlip-{_key()}"
    with locked(cache / ".democlip.lock"):
        if not (folder / "truth.json").is_file():
            wheel = download(CODE / "source.lock", cache)
            with working("rendering the demo clip"), held_folder(cache, folder.name) as partial:
                arguments = ["--wheel", str(wheel), "--out", str(partial)]
                code = start_stage("tracker", arguments, writes=[cache], module="demo", code=CODE)
                if code:
                    raise RunnerError(f"the demo clip could not be rendered (exit code {code}).", code)
                partial.rename(folder)
    return folder


def demo_excerpt(first: int, last: int) -> Path:
    """Return a folder with demo.mp4 and truth.json of some of the demo clip's frames, made where it is missing."""
    whole, cache = demo_clip(), runs.cache_dir()
    code = hashlib.sha256((CODE / "excerpt.py").read_bytes()).hexdigest()[:8]
    folder = cache / f"{whole.name}-{first}-{last}-{code}"
    with locked(cache / ".democlip.lock"):
        if not (folder / "truth.json").is_file():
            with held_folder(cache, folder.name) as partial:
                arguments = [str(whole), str(first), str(last), str(partial)]
                ended = start_stage("tracker", arguments, writes=[cache], module="demo.excerpt", code=CODE)
                if ended:
                    raise RunnerError(f"the demo clip could not be cut (exit code {ended}).", ended)
                partial.rename(folder)
    return folder


def _holds_another_clip(folder: Path, clip: Path) -> bool:
    """Say whether the demo's run was made from an older demo clip; the demo may begin its own run anew."""
    manifest = folder / runs.MANIFEST
    if not manifest.is_file():
        return False
    return bool(runs.within(runs.read_manifest(manifest), "source", "sha256") != runs.sha256(clip))


def _list_artefacts(folder: Path) -> None:
    print("\nWhat was made:")
    for name, what in (
        ("source.mp4", "the clip as every stage sees it"),
        ("mask.mp4", "the board's mask (mask_skateboard/ has it as PNG files)"),
        ("human_mask.mp4", "the skater's mask"),
        ("pose.json", "the skeleton (pose.mp4 and pose_skater/ show it, pose_json/ has OpenPose files)"),
        (f"{runs.newest_reskin(folder)}/output.mp4", "the new object and skater in the old clip"),
        (f"{runs.newest_reskin(folder)}/report/overlay.mp4", "source and result side by side: look at this one"),
        (f"{runs.newest_reskin(folder)}/report/iou.csv", "every frame's IoU"),
        (runs.MANIFEST, "the clip's manifest: parameters, versions, SHA-256 of every output"),
        (f"{runs.newest_reskin(folder)}/{runs.MANIFEST}", "the reskin's: how it was painted and judged"),
    ):
        print(f"  {folder / name}\n      {what}")


def demo(arguments: list[str]) -> int:
    """Run the demo; the exit code is the gate's."""
    if arguments:
        raise RunnerError(f"make demo takes no arguments, not '{' '.join(arguments)}'.", 2)
    clip = demo_clip()
    truth = json.loads((clip / "truth.json").read_text())
    prompt = truth["prompt"]
    box, frame = ",".join(str(value) for value in prompt["box"]), str(prompt["frame"])
    named = ["--run", "demo"]
    folder = runs.run_folder("demo")
    print("\n1. extract: where are the board and the skater?  (embedded tracker and pose model, no weights needed)")
    anew = ["--force"] if _holds_another_clip(folder, clip / "demo.mp4") else []
    # by name: the demo shows the same thing where SAM 2.1's weights are
    prompted = ["--bbox", box, "--frame", frame, "--backend", "embedded"]
    code = extract(["-i", str(clip / "demo.mp4"), *named, *prompted, *anew])
    if code:
        return code
    print(f'\n2. reskin: paint "{PROMPT}" there  (ComfyUI on this machine, the draft workflow)')
    files = ["--mask", str(folder / "mask.mp4"), "--pose", str(folder / "pose.json")]
    code = reskin(["--prompt", PROMPT, *files, *named, "--workflow", "draft"])
    if code:
        return code
    print("\n3. evaluate: does the new object fill the old outline?  (tracked again, IoU > 0.90 in every frame)")
    output = folder / runs.newest_reskin(folder) / "output.mp4"
    verdict = evaluate(["-original", str(folder / "mask.mp4"), "-generated", str(output), *named])
    if verdict > 1:
        return verdict
    print("\n4. and how good was the mask itself? the demo clip's truth is known:")
    masks = [str(clip / "truth.mp4"), str(folder / "mask.mp4")]
    start_stage("evaluator", masks, module="demo.score", code=CODE)
    _list_artefacts(folder)
    print(f"\nThe gate {'PASSED' if verdict == 0 else 'FAILED'} (exit code {verdict}).")
    return verdict


if __name__ == "__main__":
    run(demo)
