"""What can go wrong between us and a ComfyUI server, each end told apart by its class and its exit code.

MissingError
├── ServerError              the server is of no use now; another one may be
│   ├── ServerUnreachable  3 nobody answers at the address, or no longer
│   │   └── ServerFails    3 every answer is an error of the server's own (HTTP 5xx)
│   ├── ServerLacks        3 the server lacks a node class, an input or a model file that the workflow needs
│   ├── UploadTooLarge     2 an input is over the server's limit
│   ├── JobLost            9 the server no longer knows the job (it was restarted), more often than --retries
│   └── ServerWedged      10 the server answers, and works on nothing
└── JobError                 the server took the job and gave no result
    ├── JobFailed          6 a node raised an exception
    ├── JobOutOfMemory     7 a node found no memory
    ├── JobInterrupted     8 somebody stopped the job on the server
    └── JobTimeout        11 the job, which is one window's, took longer than --timeout
InputError
├── WorkflowRefused        5 the server's validation refused the graph
└── BadResult             12 what came back is not what was asked for
JobsFailed                   several jobs of one command failed: the exit code of the first
"""

from __future__ import annotations

from collections.abc import Mapping

from handoff.errors import InputError, MissingError, PreserverError


class ServerError(MissingError):
    """The server is of no use now; another one may be."""


class ServerUnreachable(ServerError):
    """Nobody answers at the address, or no longer."""


class ServerFails(ServerUnreachable):
    """Every answer is an error of the server's own (HTTP 5xx)."""


class ServerLacks(ServerError):
    """The server lacks a node class, an input or a model file that the workflow needs."""


class UploadTooLarge(ServerError):
    """An input is over the server's limit for uploads; another server's may be higher."""

    exit_code = 2


class JobLost(ServerError):
    """The server no longer knows the job."""

    exit_code = 9


class ServerWedged(ServerError):
    """The server answers, and works on nothing."""

    exit_code = 10


class JobError(MissingError):
    """The server took the job and gave no result."""


class JobFailed(JobError):
    """A node raised an exception. `traceback` is the server's, empty where it gave none."""

    exit_code = 6

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class JobOutOfMemory(JobFailed):
    """A node found no memory."""

    exit_code = 7


class JobInterrupted(JobError):
    """Somebody stopped the job on the server."""

    exit_code = 8


class JobTimeout(JobError):
    """The job took longer than it was given."""

    exit_code = 11


class WorkflowRefused(InputError):
    """The server's validation refused the graph."""

    exit_code = 5


class BadResult(InputError):
    """What came back is not what was asked for."""

    exit_code = 12


class JobsFailed(PreserverError):
    """Several jobs of one command failed."""

    def __init__(self, failed: Mapping[str, PreserverError], count: int) -> None:
        lines = [f"  reskin/{name}: {error}" for name, error in failed.items()]
        heading = f"{len(failed)} of {count} jobs failed; the others are kept, run the same command for the rest:"
        super().__init__("\n".join([heading, *lines]))
        self.exit_code = next(iter(failed.values())).exit_code
