"""A file system that this machine does not have, by a stand-in: a library that is loaded before the C library.

It answers flock and fsync as such a file system does, on every path of a process and its children:

    locks="nfs"    as Linux' NFS client, which makes a byte-range lock of every flock: LOCK_SH needs a file that is open
                   for reading, LOCK_EX one that is open for writing, else EBADF. Folders cannot be open for writing.
    locks=ERRNO    no flock at all
    folders=ERRNO  no fsync on folders; files=ERRNO none on files
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int refused(const char *name) {
    const char *said = getenv("REFUSED_TO");
    if (said) {
        int log = open(said, O_WRONLY | O_CREAT | O_APPEND, 0666);
        if (write(log, name, strlen(name)) < 0) abort();
        close(log);
    }
    return -1;
}

int flock(int descriptor, int how) {
    static int (*real)(int, int);
    if (!real) real = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
    const char *locks = getenv("LOCKS");
    if (locks && strcmp(locks, "nfs")) { errno = atoi(locks); return refused("flock\n"); }
    if (locks) {
        int access = fcntl(descriptor, F_GETFL) & O_ACCMODE;
        if (((how & LOCK_SH) && access == O_WRONLY) || ((how & LOCK_EX) && access == O_RDONLY)) {
            errno = EBADF;
            return refused("flock\n");
        }
    }
    return real(descriptor, how);
}

int fsync(int descriptor) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    struct stat about;
    const char *answer = getenv(fstat(descriptor, &about) == 0 && S_ISDIR(about.st_mode) ? "FOLDERS" : "FILES");
    if (answer) { errno = atoi(answer); return refused("fsync\n"); }
    return real(descriptor);
}
"""


def preloaded(folder: Path, *, locks: str | int = "", folders: int = 0, files: int = 0) -> dict[str, str]:
    """An environment in which processes meet that file system; what they were refused goes into folder/refused."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler here to make the stand-in for another file system with")
    library = folder / "stand-in.so"
    (folder / "stand-in.c").write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "stand-in.c", "-ldl"], check=True)
    answers = {"LOCKS": str(locks), "FOLDERS": str(folders or ""), "FILES": str(files or "")}
    loaded = {"LD_PRELOAD": str(library), "REFUSED_TO": str(folder / "refused")}
    return os.environ | loaded | {name: value for name, value in answers.items() if value}


def refusals(folder: Path) -> int:
    """How often a process was refused."""
    said = folder / "refused"
    return len(said.read_text().splitlines()) if said.exists() else 0
