"""Faults in the middle of the loop, on real servers with the real gate: it ends as an undisturbed loop does.

What was painted is counted twice: by the bodies of POST /prompt on the wire, and by the painter itself in its server's
log, which outlives the server.
"""

from __future__ import annotations

import json
import signal
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reskin.windows import FOLDER
from tests.helpers import until
from tests.reskin.proxy import Proxy, proxy_to
from tests.reskin.servers import BackstageServer, backstage, history, post, queue
from tests.runner.loop.helpers import (
    NODES,
    SECOND,
    THIRD,
    WINDOWS,
    Loop,
    end_all,
    ended,
    make_marked_run,
    outcome,
    paintings,
    seeds_asked,
)

pytestmark = [pytest.mark.stage("reskin", "evaluator"), pytest.mark.server, pytest.mark.slow]
SECONDS = 2.0
"""That a painting takes: long enough to be killed in."""
ONCE = {(0, 0): 1, (1, 0): 1, (2, 0): 1, (1, SECOND): 1}
"""The paintings of `ONCE_BAD`: window and seed, and how often."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that every loop here gets a copy of."""
    return make_marked_run(tmp_path_factory.mktemp("faults") / "made")


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackstageServer]:
    """A server that no test kills."""
    with backstage(tmp_path_factory.mktemp("painter"), NODES) as server:
        assert server.address
        yield server


@pytest.fixture
def wire(painter: BackstageServer) -> Iterator[Proxy]:
    """The way to that server, which counts what is asked."""
    with proxy_to(painter.address) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def undisturbed(made: Path, painter: BackstageServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a loop ends with that nothing happens to."""
    before, folder = paintings(painter), tmp_path_factory.mktemp("undisturbed")
    loop = Loop(made, folder, [painter.address], seconds=SECONDS)
    done = loop()
    assert done.code == 0, done.errors
    assert paintings(painter) - before == ONCE
    found = outcome(loop)
    assert [each["failing"] for each in found["rounds"]] == [5, 0] and not found["left"]
    return found


def busy(server: BackstageServer) -> bool:
    return bool(queue(server.address)["queue_running"])


Moment = Callable[[Loop, Proxy, BackstageServer], bool]


def painting(asked: int) -> Moment:
    """So many paintings were asked for, and the last one is at work."""
    return lambda loop, wire, server: wire.count("POST", "/prompt") == asked and busy(server)


def composing(painted: int) -> Moment:
    """So many windows are painted, and the stage has still to put them together."""
    return lambda loop, wire, server: loop.painted() == painted


def noted(takes: int) -> Moment:
    """So many takes are in takes.json, and the gate has not begun."""
    return lambda loop, wire, server: loop.noted() == takes


def gating(rounds: int) -> Moment:
    """So many rounds have their verdict, and the gate is at the next one's."""
    return lambda loop, wire, server: loop.judged() == rounds and loop.works("evaluator")


def reporting(rounds: int) -> Moment:
    """The same, and the gate writes its report."""
    there = ".overlay.mp4.*.partial"
    return lambda loop, wire, server: loop.judged() == rounds and bool(list(loop.run.rglob(there)))


MOMENTS: dict[str, Moment] = {
    "round 1 is painted": painting(2),
    "round 1 is put together": composing(WINDOWS),
    "round 1 is noted": noted(WINDOWS),
    "round 1 is judged": gating(0),
    "round 1's report is written": reporting(0),
    "round 2 is painted": painting(WINDOWS + 1),
    "round 2 is put together": composing(WINDOWS + 1),
    "round 2 is noted": noted(WINDOWS + 1),
    "round 2 is judged": gating(1),
    "round 2's report is written": reporting(1),
    "round 2 has its verdict": lambda loop, wire, server: loop.judged() == 2,
}


def test_killed_at_every_step_the_same_command_goes_on_and_paints_nothing_twice(
    made: Path, painter: BackstageServer, wire: Proxy, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    """One loop, killed (SIGKILL to all of it) again and again, each time a step further."""
    before, loop = paintings(painter), Loop(made, tmp_path, [wire.address], seconds=SECONDS)
    for name, holds in MOMENTS.items():
        process = loop.start()
        until(name, lambda: process.poll() is not None or holds(loop, wire, painter))  # noqa: B023
        assert process.poll() is None, (name, ended(process))
        assert end_all(process).code == -signal.SIGKILL, name
        assert all(each == 1 for each in seeds_of_takes(loop).values()), name
    done = loop()
    assert done.code == 0, done.errors
    assert outcome(loop) == undisturbed
    assert paintings(painter) - before == ONCE, "nothing was painted twice"
    assert seeds_asked(wire.prompts) == {0: WINDOWS, SECOND: 1}, "nor asked for twice"


def seeds_of_takes(loop: Loop) -> Counter[tuple[int, int]]:
    """How often takes.json has each (window, seed)."""
    return Counter((each["window"], each["seed"]) for each in loop.ledger()["takes"])


def test_a_server_killed_in_round_2_is_named_and_the_same_command_goes_on_with_another(
    made: Path, painter: BackstageServer, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    before = paintings(painter)
    with backstage(tmp_path / "server", NODES) as victim, proxy_to(victim.address) as wire:
        loop = Loop(made, tmp_path / "loop", [wire.address], seconds=SECONDS)
        process = loop.start()
        until("round 2 is painted", lambda: (1, SECOND) in paintings(victim))
        victim.kill()
        wire.leave()
        stopped = ended(process)
        assert stopped.code == 3
        assert stopped.sentence == (
            f"error: the server at {wire.address} went away in mid-job and did not come back within 2 s (--patience); "
            "start it and run the same command again."
        )
        assert loop.judged() == 1 and loop.noted() == WINDOWS and loop.painted() == WINDOWS
        wire.upstream = painter.address
        wire.come_back()
        done = loop()
        assert done.code == 0, done.errors
        assert outcome(loop) == undisturbed
        assert paintings(victim) == ONCE and paintings(painter) - before == {(1, SECOND): 1}
        assert seeds_asked(wire.prompts) == {0: WINDOWS, SECOND: 2}, "none twice but the one that died with the server"


def test_of_two_servers_one_dies_in_round_2_and_the_other_does_its_windows(
    made: Path, painter: BackstageServer, tmp_path: Path
) -> None:
    script = {"0:0": 5, "1:0": 5, "2:0": 5, f"1:{SECOND}": 3}
    whole = {(window, seed): 1 for window in range(WINDOWS) for seed in (0, SECOND)} | {(1, THIRD): 1}
    alone = Loop(made, tmp_path / "alone", [painter.address], script, SECONDS)
    assert alone().code == 0
    before = paintings(painter)
    with backstage(tmp_path / "server", NODES) as victim:
        loop = Loop(made, tmp_path / "both", [painter.address, victim.address], script, SECONDS)
        process = loop.start()
        until("round 2 is painted", lambda: any(seed == SECOND for _, seed in paintings(victim)))
        lost = paintings(victim)
        victim.kill()
        done = ended(process)
        assert done.code == 0, done.errors
        assert f"reskin: {victim.address} is left out from now on" in done.said
        assert outcome(loop) == outcome(alone)
        assert lost == paintings(victim), "it did no more"
        twice = paintings(victim) + paintings(painter) - before - Counter(whole)
        assert sum(twice.values()) == 1 and all(seed == SECOND for _, seed in twice), "the one that died with it"
        assert [each["chosen"] for each in loop.ledger()["rounds"]][-1] == [2, 3, 2]


def test_a_window_that_can_never_pass_has_exactly_its_takes_and_the_best_is_kept(
    made: Path, painter: BackstageServer, wire: Proxy, tmp_path: Path
) -> None:
    before, script = paintings(painter), {"1:*": 6, f"1:{SECOND}": 3, f"1:{THIRD}": 5}
    loop = Loop(made, tmp_path, [wire.address], script)
    assert loop("--until-pass", "1").code == 1
    first = outcome(loop)
    assert sum((paintings(painter) - before).values()) == WINDOWS
    done = loop("--until-pass", "3")
    assert done.code == 1 and "the best is kept: 3 of 27 frames fail" in done.said
    whole = outcome(loop)
    assert paintings(painter) - before == {**ONCE, (1, THIRD): 1}, "three takes of the one window, no more"
    passed = {name: digest for name, digest in first["pictures"].items() if f"{FOLDER}/0001-" not in name}
    assert passed.items() < whole["pictures"].items(), "what passed has the bytes that it had"
    assert len(whole["pictures"]) == len(first["pictures"]), "of the window that failed, the best take alone"
    assert whole["record"]["window_seeds"] == [0, SECOND, 0] and whole["summary"]["failed"] == 3
    assert [each["failing"] for each in whole["takes"] if each["window"] != 1] == [[], []]
    assert loop("--until-pass", "3").code == 1
    assert outcome(loop) == whole and wire.count("POST", "/prompt") == WINDOWS + 2, "and again it is only said"


def cached_nodes(entry: dict[str, Any]) -> set[str]:
    """Which nodes of a job the server took from its cache."""
    messages = dict(entry["status"]["messages"])
    return set(messages["execution_cached"]["nodes"])


def test_what_a_server_has_in_its_cache_is_never_taken_for_a_new_take(
    made: Path, painter: BackstageServer, wire: Proxy, tmp_path: Path
) -> None:
    before, loop = paintings(painter), Loop(made, tmp_path, [wire.address])
    assert loop().code == 0
    whole, last = outcome(loop), json.loads(wire.prompts[-1])
    own = [json.loads(each)["prompt_id"] for each in wire.prompts]
    assert len(own) == WINDOWS + 1
    assert not any({"7", "8"} & cached_nodes(history(painter.address)[each]) for each in own), "all were executed"
    assert paintings(painter) - before == ONCE

    again = str(uuid.uuid4())
    post(painter.address, "/prompt", prompt=last["prompt"], prompt_id=again, client_id="somebody")
    until("the same once more has ended", lambda: again in history(painter.address))
    assert {"7", "8"} <= cached_nodes(history(painter.address)[again]), "this server has a cache"
    assert paintings(painter) - before == ONCE

    for each in (loop.reskin / ".windows").glob("0001-*"):
        for picture in each.iterdir():
            picture.unlink()
    assert loop("--take", "1").code == 1, "the first take of window 1 fails, as it did"
    assert seeds_asked(wire.prompts)[0] == WINDOWS + 1
    assert loop().code == 0
    assert seeds_asked(wire.prompts) == {0: WINDOWS + 1, SECOND: 2}, "what was removed is painted again"
    own = [json.loads(each)["prompt_id"] for each in wire.prompts]
    assert not any("7" in cached_nodes(history(painter.address)[each]) for each in own)
    assert outcome(loop) == whole, "with the same pictures"


@pytest.mark.parametrize("at", ["painted", "judged"])
def test_after_ctrl_c_in_round_2_the_best_so_far_is_there_with_its_verdict(
    made: Path, painter: BackstageServer, wire: Proxy, undisturbed: dict[str, Any], tmp_path: Path, at: str
) -> None:
    loop = Loop(made, tmp_path, [wire.address], seconds=SECONDS)
    process, holds = loop.start(), painting(WINDOWS + 1) if at == "painted" else gating(1)
    until(f"round 2 is {at}", lambda: holds(loop, wire, painter))
    stopped = end_all(process, signal.SIGINT)
    assert stopped.code == 130, stopped.errors
    assert "interrupted; the best so far is kept: 5 of 27 frames fail" in stopped.said
    left = outcome(loop)
    assert left["record"]["window_seeds"] == [0] * WINDOWS and left["summary"]["failed"] == 5
    assert left["rounds"] == undisturbed["rounds"][:1] and not left["left"]
    asked = wire.count("POST", "/prompt")
    assert asked == WINDOWS + 1
    done = loop()
    assert done.code == 0, done.errors
    assert outcome(loop) == undisturbed
    again = wire.count("POST", "/prompt") - asked
    assert again == (1 if at == "painted" else 0), "only what was stopped in the middle is asked for again"


FULL = """
mount -t tmpfs -o size=64m tmpfs {small} || exit 99
cp -r {loop}/. {small} && cd {small} || exit 98
{command} >{out}/said 2>{out}/errors & pid=$!
until grep -q '{when}' run/reskins/drone/takes.json 2>/dev/null; do sleep 0.05; done
while kill -0 $pid 2>/dev/null; do cat /dev/zero >>fill 2>/dev/null; sleep 0.02; done
wait $pid; echo $? >{out}/code
cp run/reskins/drone/takes.json {out}; find run -name '*.partial' >{out}/partial
rm fill
{command} >{out}/said2 2>{out}/errors2; echo $? >{out}/code2
cp -r run {out}
"""


@pytest.mark.parametrize(("when", "known"), [('"rounds": [[]{', 3), ('"take": 2', 4)], ids=["painted", "judged"])
def test_a_full_disk_in_round_2_is_one_sentence_and_with_room_again_the_same_command_goes_on(
    made: Path,
    painter: BackstageServer,
    wire: Proxy,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    when: str,
    known: int,
) -> None:
    """A small tmpfs that somebody fills."""
    before, loop = paintings(painter), Loop(made, tmp_path / "loop", [wire.address], seconds=SECONDS)
    small, out = tmp_path / "small", tmp_path / "out"
    small.mkdir()
    out.mkdir()
    command = f"DATA_DIR={small}/data {' '.join([*loop.command, '--until-pass', '3'])}"
    command = command.replace(str(loop.folder), str(small))
    script = FULL.format(small=small, loop=loop.folder, out=out, command=command, when=when)
    shell = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode == 99:
        pytest.skip("this machine does not let a test mount a small tmpfs (unshare --map-root-user --mount)")
    read = {path.name: path.read_text() for path in out.iterdir() if path.is_file()}
    lines = [line for line in read["errors"].splitlines() if line.startswith("error:")]
    assert read["code"].strip() == "3" and len(lines) == 1 and "Traceback" not in read["errors"], read
    assert "o space left on" in lines[0] and "the same command" in lines[0]
    assert not read["partial"], "nothing is half there"
    ledger = json.loads(read["takes.json"])
    assert len(ledger["takes"]) == known and len(ledger["rounds"]) == 1, "what was known is known"
    assert read["code2"].strip() == "0", read["errors2"]
    assert outcome(Loop(made, out, [])) == undisturbed
    assert paintings(painter) - before == ONCE and seeds_asked(wire.prompts) == {0: WINDOWS, SECOND: 1}
