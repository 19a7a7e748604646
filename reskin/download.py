"""One result of the server's to one file of ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from handoff.atomic import atomic_file
from reskin.errors import BadResult


@dataclass(frozen=True)
class ServerFile:
    """A file on the server, as the server names it."""

    filename: str
    subfolder: str
    type: str

    @classmethod
    def from_json(cls, record: Any) -> ServerFile:
        """Read an entry of a node's outputs; raise BadResult when it is something else."""
        if not isinstance(record, dict) or not isinstance(record.get("filename"), str):
            raise BadResult(f"the server names a result that is no file: {record!r}.")
        subfolder, kind = record.get("subfolder", ""), record.get("type", "output")
        if not isinstance(subfolder, str) or kind not in ("output", "temp"):
            raise BadResult(f"the server names a result in a place that is not its output folder: {record!r}.")
        return cls(record["filename"], subfolder, kind)


class Torn(Exception):
    """A result's answer broke off on its way."""


def download(http: httpx.Client, file: ServerFile, target: Path, max_bytes: int) -> None:
    """Fetch once; `target` appears when it is complete.

    Raises Torn and, for no answer or a 5xx, httpx.HTTPError, which are worth another try; BadResult, which is not.
    """
    params = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
    received = 0
    with atomic_file(target) as partial, http.stream("GET", "/view", params=params) as answer:
        if answer.is_server_error:
            answer.read()  # what it says, for the message
            answer.raise_for_status()
        if answer.status_code != httpx.codes.OK:
            raise BadResult(
                f"the server withholds its result {file.filename!r}: HTTP {answer.status_code} "
                "(was its output folder cleared?); run the same command again."
            )
        try:
            with partial.open("wb") as output:
                for piece in answer.iter_bytes():
                    received += len(piece)
                    if received > max_bytes:
                        raise BadResult(f"the result {file.filename!r} is larger than {max_bytes} bytes.")
                    output.write(piece)
        except httpx.HTTPError as error:
            raise Torn(f"after {received} bytes: {error}") from error
        expected = int(answer.headers.get("content-length", received))
        if received != expected and "content-encoding" not in answer.headers:
            raise Torn(f"{received} of {expected} bytes")
