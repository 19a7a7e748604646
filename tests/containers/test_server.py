"""ComfyUI has no password: only the painting stage may reach it, and this machine's loopback if asked."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from testcontainers.core.container import DockerContainer

from tests.containers.helpers import (
    DRAFT,
    PROJECT,
    World,
    as_json,
    containers,
    containers_of,
    engine,
    image,
    networks,
    networks_of,
    output_of,
    python_in,
)
from tests.helpers import HANG_S

pytestmark = pytest.mark.container
SERVER = f"{PROJECT}-comfyui-1"

# asks for a page and says what came of it; 192.0.2.1 and example.org stand for the world outside
ASK = """
import json, sys, urllib.request
found = {}
for address in sys.argv[1:]:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        limit_s = 60 if address == "comfyui:8188" else 4  # the others are to be refused, or to say nothing
        found[address] = opener.open(f"http://{address}/system_stats", timeout=limit_s).read().decode()
    except OSError as error:
        found[address] = f"refused: {error}"
print(json.dumps(found))
"""

OUTSIDE = ("1.1.1.1:443", "8.8.8.8:53")
"""Two well-known servers of names."""
CONNECT = """
import socket, sys
for address in sys.argv[1:]:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=4).close()
        print("answers")
    except OSError:
        print("refused")
"""


def is_comfyui(host: str, port: int, within_s: float = 4) -> bool:
    """Ask for ComfyUI's own page. A connection alone says nothing: some networks accept every one."""
    connection = http.client.HTTPConnection(host, port, timeout=within_s)
    try:
        connection.request("GET", "/system_stats")
        return "comfyui_version" in connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def own_address() -> str:
    """This machine's address beside the loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network but its loopback")
        return str(probe.getsockname()[0])


def network() -> dict[str, str]:
    """The server's network as the engine knows it: its gateway, and the server's address."""
    own, container = engine().networks.get(f"{PROJECT}_server"), engine().containers.get(SERVER)
    address = container.attrs["NetworkSettings"]["Networks"][own.name]["IPAddress"]
    return {"gateway": own.attrs["IPAM"]["Config"][0]["Gateway"], "server": address}


@pytest.fixture(scope="module")
def up(world: World) -> Iterator[World]:
    """The server, started by make up and stopped by make down."""
    done = world("runner.docker", "up")
    assert done.returncode == 0, done.stderr
    assert "running as comfyui:8188" in done.stdout
    yield world
    done = world("runner.docker", "down")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def listener() -> Iterator[int]:
    """The port of a server on every address of this machine."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"this machine")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def stranger() -> Iterator[DockerContainer]:
    """A container on the engine's ordinary network, which serves a page on port 8000."""
    with python_in(image("reskin"), "-m", "http.server", "8000", "--directory", "/app") as container:
        yield container


def test_the_painting_stage_reaches_comfyui_and_neither_this_machine_nor_the_world_nor_other_containers(
    up: World, listener: int, stranger: DockerContainer
) -> None:
    other = stranger.get_docker_client().bridge_ip(stranger.get_container_id())
    assert other
    refused = [f"{network()['gateway']}:{listener}", f"{own_address()}:{listener}", f"{other}:8000"]
    refused += ["192.0.2.1:80", "example.org:80", f"host.docker.internal:{listener}"]
    ask = ("run", "--rm", "--no-TTY", "--entrypoint", "python", "reskin", "-c", ASK)
    found = as_json(up.compose(*ask, "comfyui:8188", *refused))
    assert "comfyui_version" in found.pop("comfyui:8188")
    assert set(found) == set(refused)
    for address, answer in found.items():
        assert answer.startswith("refused: "), f"{address}: {answer}"


def test_the_server_that_stays_sees_its_own_folder_and_no_other_commands(up: World) -> None:
    """Another command's server has its window's pictures beside it."""
    other = up.data / "comfyui" / f"{os.getuid()}-{os.getpid()}"
    other.mkdir()
    (other / "window.png").touch()
    try:
        look = [
            "python",
            "-c",
            "import os; print(*[name for _, *names in os.walk('/work') for each in names for name in each])",
        ]
        seen = engine().containers.get(SERVER).exec_run(look).output.decode().split()
        assert "output" in seen and not {"window.png", other.name} & set(seen)
        mounts = {each["Destination"]: each["Source"] for each in engine().containers.get(SERVER).attrs["Mounts"]}
        assert mounts["/work"] == str(up.data / "comfyui" / PROJECT)
    finally:
        shutil.rmtree(other)


def test_nobody_else_reaches_comfyui(up: World, stranger: DockerContainer) -> None:
    server = network()["server"]
    for host in ("127.0.0.1", own_address(), server):
        assert not is_comfyui(host, 8188), host
    assert not any(engine().containers.get(SERVER).attrs["NetworkSettings"]["Ports"].values())
    done = stranger.exec(["python", "-c", ASK, f"{server}:8188", "comfyui:8188", f"{SERVER}:8188"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert all("comfyui_version" not in answer for answer in found.values()), found


def test_a_command_uses_the_server_that_make_up_started_and_leaves_it_running(
    up: World, undisturbed: Path, again: World
) -> None:
    shutil.copytree(undisturbed, again.run("clip"))
    with again.start("generate_reskin.py", "--run", "clip", *DRAFT) as command:
        said, _ = command.communicate(timeout=HANG_S)
    assert command.returncode == 0, said
    assert "comfyui: using the server that make up started" in said
    assert not containers_of(command.pid) and not networks_of(command.pid)
    assert engine().containers.get(SERVER).health == "healthy"


@pytest.fixture
def way_out() -> None:
    """An ordinary container reaches the world from here."""
    if "answers" not in output_of(python_in(image("reskin"), "-c", CONNECT, *OUTSIDE)).split():
        pytest.skip("this machine has no way out to the world for any container")


def test_published_it_answers_on_the_loopback_only_and_has_no_way_out_and_down_leaves_nothing(
    up: World, way_out: None
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    published = up.elsewhere(up.data, COMFYUI_PORT=str(port))
    done = published("runner.docker", "up", "--publish")
    assert done.returncode == 0, done.stderr
    assert f"http://127.0.0.1:{port}" in done.stdout
    assert is_comfyui("127.0.0.1", port, HANG_S)
    assert not is_comfyui(own_address(), port)
    assert list((up.data / "comfyui" / PROJECT).iterdir()), "the server writes nothing there?"
    answers = engine().containers.get(SERVER).exec_run(["python", "-c", CONNECT, *OUTSIDE]).output.decode().split()
    assert answers == ["refused"] * len(OUTSIDE), "published, it reaches the world"
    done = published("runner.docker", "down")
    assert done.returncode == 0, done.stderr
    assert not is_comfyui("127.0.0.1", port)
    [own] = (up.data / "comfyui").iterdir()
    assert own.name == PROJECT and not list(own.iterdir()), "what it wrote is gone"
    assert not containers(PROJECT) and not networks(PROJECT)
    assert not engine().volumes.list(filters={"name": PROJECT})
