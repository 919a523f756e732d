"""Every error a user can meet, named by the boundary that was crossed.

Each type also subclasses the built-in exception it specialises, takes one message as its only positional argument (so
it survives pickling between processes), and carries the exit code of the command line. A message says what is wrong and
what to do about it. Broken promises between our own functions are assertions, not members of this tree.
"""

import os


class BootstrapError(Exception):
    """Root of the tree; anything else that escapes is a defect of this program."""

    exit_code = 1


class RecipeError(BootstrapError, ValueError):
    """The recipe, an override or a command-line argument cannot work as written."""

    exit_code = 2


class StoreError(BootstrapError, OSError):
    """The lineage's folder cannot be read or written (missing, read-only, full)."""

    exit_code = 3


class StoreCorrupt(StoreError):
    """A stored file differs from its recorded hash, or the ledger's chain is broken."""


class LineageLocked(StoreError):
    """Another living driver writes this lineage.

    `owner` names it as a clause of a sentence, where it is known; it survives pickling, as every attribute does.
    """

    def __init__(self, message: str, *, owner: str | None = None) -> None:
        super().__init__(message)
        self.owner = owner


class LineageMismatch(StoreError):
    """The folder holds a lineage grown from another recipe."""


class AccountingMismatch(BootstrapError, ValueError):
    """The prompts drawn and the outcomes recorded for them do not add up; the generation is not committed."""

    exit_code = 4


class VerifierError(BootstrapError, RuntimeError):
    """A verifier failed its sanity checks, or could not judge too large a share of the answers."""

    exit_code = 4


class SandboxUnavailable(VerifierError):
    """No level of confinement that the recipe accepts withstands the probe attacks on this machine."""


class WorkerError(BootstrapError, RuntimeError):
    """A worker process died or reported a failure."""

    exit_code = 5


class FingerprintMismatch(WorkerError):
    """The weights in a worker are not those that the plan names."""


class WaitTimeout(WorkerError, TimeoutError):
    """A bounded wait was hit; the message names what is awaited, from whom and since when."""


class ClusterError(BootstrapError, ConnectionError):
    """Ray cannot be reached or refused the job."""

    exit_code = 5


class TrackingError(BootstrapError, ConnectionError):
    """MLflow cannot be reached or refused a record; the outbox keeps what is unpublished."""

    exit_code = 6


class GuardStop(BootstrapError, RuntimeError):
    """A guard of the recipe ended the run after a committed generation."""

    exit_code = 7


def system_reason(error: BaseException) -> str:
    """Return what the operating system said beneath an error of a client's: `Connection refused`.

    Where it said nothing, what the error says itself, or its name.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            # Names that cannot be resolved have negative numbers and words of their own.
            return os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return str(error).strip() or type(error).__name__
