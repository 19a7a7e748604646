"""Native libraries' chatter is held back; their errors are not."""

from __future__ import annotations

import os

import pytest

from posegen.mediapipe_backend import NativeLog, without_chatter


def test_native_chatter_is_held_back_and_errors_pass() -> None:
    text = (
        b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
        b"W0000 00:00:1795340184.787982    6077 inference_feedback_manager.cc:114] Feedback manager requires ...\n"
        b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
        b"E0000 00:00:1795340184.9    6077 calculator_graph.cc:1] no such file\n"
        b"Fatal Python error\n"
    )
    passed = without_chatter(text).decode()
    assert passed.splitlines() == [
        "E0000 00:00:1795340184.9    6077 calculator_graph.cc:1] no such file",
        "Fatal Python error",
    ]


def test_what_native_code_writes_in_a_block_that_fails_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:

    log = NativeLog()
    with pytest.raises(RuntimeError), log.quiet():
        os.write(2, b"I0000 chatter\nE0000 broken graph\n")
        raise RuntimeError
    log.close()
    assert capfd.readouterr().err == "E0000 broken graph\n"
