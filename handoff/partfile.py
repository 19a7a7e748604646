"""The unfinished file of a download, and the note beside it that says what it is a part of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from handoff.atomic import write_text
from handoff.errors import storage_errors

PART_SUFFIX = ".part"


@dataclass(frozen=True)
class Part:
    """The unfinished file beside `target`, and the note that says what it is a part of."""

    target: Path
    url: str
    sha256: str

    @property
    def path(self) -> Path:
        return self.target.with_name(self.target.name + PART_SUFFIX)

    @property
    def note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def have(self) -> int:
        """Return the bytes that a new request may build on: 0 for a part of another file, or one without its note."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            known = (note["url"], note["sha256"]) == (self.url, self.sha256)
        except (OSError, ValueError, KeyError, TypeError):
            known = False
        return self.path.stat().st_size if known and self.path.is_file() else 0

    def validator(self) -> str | None:
        """Return what If-Range is to say. Call it only where `have` is not 0."""
        text = json.loads(self.note.read_text(encoding="utf-8")).get("validator")
        return text if isinstance(text, str) else None

    def describe(self, validator: str | None) -> None:
        write_text(self.note, json.dumps({"url": self.url, "sha256": self.sha256, "validator": validator}) + "\n")

    def remove(self) -> None:
        with storage_errors(self.path):
            self.path.unlink(missing_ok=True)
            self.note.unlink(missing_ok=True)
