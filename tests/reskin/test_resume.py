"""What is left of a reskin that did not end well is used by the next command, on a real ComfyUI server."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from handoff.errors import StorageError
from handoff.masks import frame_name
from handoff.run import Run, StageFolder
from reskin.windows import FOLDER
from tests.helpers import records
from tests.reskin.helpers import NAME, paint_vace
from tests.reskin.servers import history

pytestmark = [pytest.mark.server, pytest.mark.slow]
MakeRun = Callable[..., Run]
OPTIONS = ("--workflow", "wan_vace", "--window", "13", "--overlap", "5")


def test_windows_outlive_a_manifest_that_cannot_be_written_and_one_that_is_spoilt_is_painted_again(
    make_run: MakeRun, comfy_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(15)

    def full(self: StageFolder) -> None:
        raise StorageError("cannot write run.json: no space left on the device")

    with monkeypatch.context() as patch, pytest.raises(StorageError, match=r"run\.json"):
        patch.setattr(StageFolder, "save", full)
        paint_vace(run, comfy_server, *OPTIONS)
    assert "reskin/drone-samurai" not in records(run.dir)
    first, second = sorted(run.path(f"{NAME}/{FOLDER}").iterdir())
    assert (len(list(first.glob("frame_*.png"))), len(list(second.glob("frame_*.png")))) == (13, 7)
    assert all(len([*each.iterdir()]) == len([*each.glob("frame_*.png")]) + 1 for each in (first, second)), "by whom"

    # as a power cut leaves a file that was never on the disk
    (second / frame_name(3)).write_bytes(b"")
    jobs = len(history(comfy_server))
    assert paint_vace(run, comfy_server, *OPTIONS).return_value == 0
    assert json.loads(run.path(f"{NAME}/output.json").read_text())["windows_resumed"] == 1
    assert len(history(comfy_server)) - jobs == 1, "only the window that could not be read"
    assert "reskin/drone-samurai" in records(run.dir)
    assert sorted(path.name for path in run.path(NAME).iterdir()) == [".lock", "output.json", "output.mp4", "run.json"]
