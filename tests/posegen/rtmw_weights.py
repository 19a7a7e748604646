"""A tiny RTMW-l where the registry says that the official one lies."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from tests.posegen.rtmw_net import write_network


def install(models: Path, registry: Path, monkeypatch: pytest.MonkeyPatch, **how: object) -> Path:
    """Put a tiny RTMW-l, as an official archive, where the registry says, and return the network by itself."""
    network = write_network(models.parent / "end2end.onnx", **how)  # type: ignore[arg-type]
    models.joinpath("pose").mkdir(parents=True)
    archive = models / "pose" / "rtmw-l.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(network, "20230831/rtmpose_onnx/rtmw/end2end.onnx")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (archive, network)]
    registry.write_text(f"""
        schema = 1
        default = ["pose"]
        [profiles]
        pose = "the skeleton"
        [weights.rtmw-l-384x288]
        file = "pose/rtmw-l.zip"
        url = "https://example.invalid/rtmw-l.zip"
        sha256 = "{digests[0]}"
        onnx_sha256 = "{digests[1]}"
        licence = "Apache-2.0"
        licence_url = "https://example.invalid/LICENSE"
        profiles = ["pose"]
    """)
    monkeypatch.setenv("WEIGHTS_TOML", str(registry))
    monkeypatch.setenv("MODELS_DIR", str(models))
    return network
