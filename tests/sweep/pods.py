"""A Kubernetes API server that keeps what it is asked for, and runs each job's command as a process here."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class KubernetesCluster:
    """A cluster without nodes. path: PATH of what its pods run. lost: how many of the first are lost."""

    folder: Path
    path: str
    lost: int = 0
    jobs: dict[str, Any] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    def submit(self, manifest: Any) -> None:
        name = manifest["metadata"]["name"]
        self.jobs[name] = manifest
        if len(self.jobs) <= self.lost:
            self.ended[name] = 1
        else:
            threading.Thread(target=self._run, args=(name,), daemon=True).start()

    def _run(self, name: str) -> None:
        container = self.container(name)
        workdir = self.folder / name
        workdir.mkdir()
        with (self.folder / f"{name}.log").open("wb") as log:
            done = subprocess.run(
                [*container["command"], *container["args"]],
                cwd=workdir,
                env={"PATH": self.path, "HOME": str(workdir), "LANG": "C.UTF-8"},
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        self.ended[name] = done.returncode

    def container(self, name: str) -> Any:
        (found,) = self.jobs[name]["spec"]["template"]["spec"]["containers"]
        return found

    def logs(self) -> str:
        return "\n".join(each.read_text() for each in sorted(self.folder.glob("*.log")))

    def answer(self, method: str, path: str, body: Any) -> Any:
        what, _, name = path.partition("?")[0].removesuffix("/status").partition("/jobs/")
        if method == "POST" and path.endswith("/jobs"):
            self.submit(body)
            return body
        if method == "DELETE":
            self.deleted.append(name or what)
            return {"kind": "Status", "status": "Success"}
        if name:
            code = self.ended.get(name)
            status = {"active": 1} if code is None else {"failed": 1} if code else {"succeeded": 1}
            return self.jobs[name] | {"status": status}
        return {"kind": "PodList", "items": []} if what.endswith("/pods") else body


@contextlib.contextmanager
def serving(cluster: KubernetesCluster) -> Iterator[Path]:
    """Serve the cluster as long as the block lasts; yield a kubeconfig that names it."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"null")
            said = json.dumps(cluster.answer(self.command, self.path, body)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_DELETE = _answer

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield kubeconfig(cluster.folder / "kubeconfig", f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


def kubeconfig(path: Path, server: str) -> Path:
    """Write a kubeconfig of one cluster without users."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "made-up", "cluster": {"server": server}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "made-up", "context": {"cluster": "made-up", "user": "nobody"}}],
        "current-context": "made-up",
    }
    path.write_text(json.dumps(told))
    return path


def programs(folder: Path, **texts: str) -> str:
    """Make programs in a folder; return a PATH with them in front."""
    folder.mkdir()
    for name, text in texts.items():
        program = folder / name.replace("_", ".")
        program.write_text(text)
        program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.defpath}"
