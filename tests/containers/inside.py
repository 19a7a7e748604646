"""Run inside a container: what a program there may do, and what it sees. Prints JSON. Standard library only."""

import importlib.metadata
import json
import os
import shutil
import socket
from pathlib import Path


def refusal(path: str) -> int:
    """Try to make a file; return the errno of the refusal, 0 where it could be made."""
    try:
        Path(path).write_text("")
    except OSError as error:
        return error.errno or -1
    Path(path).unlink()
    return 0


def connection(host: str, port: int) -> int:
    """Try to connect; return the errno of the refusal, 0 where something answered."""
    with socket.socket() as probe:
        probe.settimeout(3)
        try:
            probe.connect((host, port))
        except OSError as error:
            return error.errno or -1
    return 0


LIMITS = {
    "memory": ("memory.max", "memory/memory.limit_in_bytes"),
    "swap": ("memory.swap.max",),
    "processes": ("pids.max", "pids/pids.max"),
}
"""Where the kernel says what this container's limit is: control groups of version 2, else of version 1."""


def limit(*names: str) -> str | None:
    """Return what stands in the first of these files that is there."""
    found = (Path("/sys/fs/cgroup") / name for name in names)
    return next((path.read_text().strip() for path in found if path.exists()), None)


status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
print(
    json.dumps(
        {
            "ids": [os.getuid(), os.geteuid(), os.getgid(), os.getegid()],
            "groups": os.getgroups(),
            "capabilities": [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")],
            "no_new_privileges": status["NoNewPrivs"],
            "first_process": Path("/proc/1/cmdline").read_bytes().split(b"\0")[0].decode(),
            "own_number": os.getpid(),
            "refusals": {
                name: refusal(f"{name}/x") for name in ("", "/app", "/opt/venv", "/usr", "/etc", "/data/models")
            },
            "temporary": refusal("/tmp/x"),
            "temporary_bytes": os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize,
            "limits": {name: limit(*names) for name, names in LIMITS.items()},
            "interfaces": sorted(os.listdir("/sys/class/net")),
            "outside": connection("192.0.2.1", 80),
            "tools": [
                name
                for name in ("uv", "uvx", "git", "gcc", "cc", "g++", "make", "nvcc", "curl", "wget")
                if shutil.which(name) or Path("/opt/venv/bin", name).exists()
            ],
            "packages": sorted({f"{each.name}=={each.version}" for each in importlib.metadata.distributions()}),
            "app": sorted(str(path.relative_to("/app")) for path in Path("/app").rglob("*") if path.is_file()),
        }
    )
)
