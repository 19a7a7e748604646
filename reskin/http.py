"""Requests to one server: what is tried again, and what counts as nobody there."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx

from handoff.errors import UsageError
from reskin.errors import ServerFails, ServerUnreachable

TRIES = 3
RETRY_PAUSE_S = 1.0
_SHOWN = 200
"""Characters of an error page that are passed on."""
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)


def parse_address(server: str) -> str:
    """Return "HOST:PORT" of "HOST:PORT" or "http://HOST:PORT/"; raise UsageError for anything else."""
    found = re.fullmatch(r"(?:http://)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):([0-9]{1,5})/?", server.strip())
    if found is None or not 0 < int(found.group(2)) < 65536:
        raise UsageError(f"the server '{server}' is not HOST:PORT, such as 127.0.0.1:8188.")
    return f"{found.group(1)}:{found.group(2)}"


class Http:
    """One HOST:PORT. Nothing else is contacted: no proxy from the environment, no redirect followed.

    `transport` replaces the network, for tests.
    """

    def __init__(self, server: str, transport: httpx.BaseTransport | None = None) -> None:
        self.address = parse_address(server)
        self.client = httpx.Client(
            base_url=f"http://{self.address}",
            timeout=_TIMEOUT,
            trust_env=False,
            follow_redirects=False,
            transport=transport,
        )

    def unreachable(self, error: object) -> ServerUnreachable:
        return ServerUnreachable(
            f"no ComfyUI server answers at {self.address} ({error}); start one with "
            "'python main.py --listen 127.0.0.1 --port PORT' in ComfyUI's folder, or let generate_reskin.py start it."
        )

    def fails(self, answer: httpx.Response) -> ServerFails:
        said = " ".join(answer.text.split())[:_SHOWN]
        what = f"{answer.request.method} {answer.request.url.path}"
        return ServerFails(
            f"the server at {self.address} answers HTTP {answer.status_code} on {what}{said and f' ({said})'}; "
            "see its log, and start it again if need be."
        )

    def ask(self, method: str, path: str, *, tries: int = TRIES, **content: Any) -> httpx.Response:
        """Send a request, and send it again after a dropped connection or a 5xx: a server under load does both.

        Raises ServerUnreachable, at once where nobody listens; ServerFails when the last try is a 5xx. Other status
        codes are the caller's to judge.
        """
        while True:
            tries -= 1
            try:
                answer = self.client.request(method, path, **content)
                if not answer.is_server_error:
                    return answer
                problem: ServerUnreachable = self.fails(answer)
            except httpx.ConnectError as error:
                raise self.unreachable(name_of(error)) from error
            except httpx.HTTPError as error:
                problem = self.unreachable(name_of(error))
            if tries <= 0:
                raise problem
            time.sleep(RETRY_PAUSE_S)

    def get(self, path: str, **how: Any) -> Any:
        """GET a JSON route (how: as for `ask`); raise ServerUnreachable when what answers is no ComfyUI."""
        answer = self.ask("GET", path, **how)
        try:
            if answer.is_success:
                return answer.json()
        except ValueError:
            pass
        raise self.unreachable(f"HTTP {answer.status_code} without JSON on {path}")

    def get_record(self, path: str, **how: Any) -> dict[str, Any]:
        """GET a JSON object; anything else is an empty one."""
        record = self.get(path, **how)
        return record if isinstance(record, dict) else {}


def name_of(error: Exception) -> str:
    """Return an exception's class and message."""
    return f"{type(error).__name__}: {error}"


def json_of(answer: httpx.Response) -> dict[str, Any]:
    """Return an answer's JSON object; anything else is an empty one."""
    try:
        reply = answer.json()
    except ValueError:
        return {}
    return reply if isinstance(reply, dict) else {}
