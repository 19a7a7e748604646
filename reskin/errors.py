"""What can go wrong between us and a ComfyUI server, each end told apart.

MissingError (3)
├── ServerUnreachable    nobody answers at the address, or no longer
├── ServerTooOld         the server lacks a node class that the workflow needs
└── JobError             the server took the job and gave no result
    ├── JobFailed        a node raised an exception
    ├── JobInterrupted   somebody stopped the job on the server
    ├── JobLost          the server no longer knows the job (it was restarted)
    └── JobTimeout       the job took longer than --timeout
InputError (2)
├── WorkflowRefused      the server's validation refused the graph
└── BadResult            what came back is not what was asked for
"""

from __future__ import annotations

from handoff.errors import InputError, MissingError


class ServerUnreachable(MissingError):
    """Nobody answers at the address, or no longer."""


class ServerTooOld(MissingError):
    """The server lacks a node class that the workflow needs."""


class JobError(MissingError):
    """The server took the job and gave no result."""


class JobFailed(JobError):
    """A node raised an exception."""


class JobInterrupted(JobError):
    """Somebody stopped the job on the server."""


class JobLost(JobError):
    """The server no longer knows the job."""


class JobTimeout(JobError):
    """The job took longer than it was given."""


class WorkflowRefused(InputError):
    """The server's validation refused the graph."""


class BadResult(InputError):
    """What came back is not what was asked for."""
