"""Keep the chatter of native libraries off the terminal, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

_CHATTER = re.compile(
    rb"^(?:[IW]\d{4} "  # glog's and absl's lines of severity info and warning; errors (E) and fatal (F) pass
    rb"|INFO: "  # TensorFlow Lite's own
    rb"|WARNING: All log messages before absl::InitializeLog)"
)


def without_chatter(text: bytes) -> bytes:
    """Return the lines of `text` that are not a native library's info or warning."""
    return b"".join(line for line in text.splitlines(keepends=True) if not _CHATTER.match(line))


class NativeLog:
    """Hold back what native code writes to file descriptor 2, and pass on all but its chatter.

    mediapipe's library initialises no log, so that no environment variable reaches its threshold (tried:
    GLOG_minloglevel, TF_CPP_MIN_LOG_LEVEL, ABSL_MIN_LOG_LEVEL, GLOG_stderrthreshold).
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object, see close

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Hold back descriptor 2 during the block; at its end, or on an error, write out what matters."""
        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            self._pass_on()

    def _pass_on(self) -> None:
        size = os.lseek(self._file.fileno(), 0, os.SEEK_END)
        if size == 0:
            return
        text = os.pread(self._file.fileno(), size, 0)
        os.ftruncate(self._file.fileno(), 0)
        os.lseek(self._file.fileno(), 0, os.SEEK_SET)
        os.write(2, without_chatter(text))

    def close(self) -> None:
        """Let go of the temporary file."""
        self._file.close()
