"""Every error that a user can meet, named by the boundary crossed.

Each type also subclasses the built-in exception that it specialises, takes one message as its only positional argument
(so it survives pickling between processes), and carries the command line's exit code. A message says what is wrong and
how to correct it. Broken promises between our own functions are assertions, not members of this tree.
"""

import os

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""


class BootstrapError(Exception):
    """Root of the tree; any other uncaught exception is a defect of this program."""

    exit_code = 1


class RecipeError(BootstrapError, ValueError):
    """The recipe, an override or a command-line argument cannot work as written."""

    exit_code = 2


class ModelFault(RecipeError):
    """The files of a model make none: of another form, or not fitting one another. Of a store's, StoreCorrupt."""


class StoreError(BootstrapError, OSError):
    """The lineage's folder cannot be read or written (missing, read-only, full)."""

    exit_code = 3


class StoreCorrupt(StoreError):
    """A stored file differs from its recorded hash, or the ledger's chain is broken."""


class WeightsFreed(StoreError):
    """Weights were freed by `bootstrap gc`: they are gone on purpose, and all records about them are there."""


class LineageLocked(StoreError):
    """Another living driver writes this lineage; `owner` names it as a clause of a sentence, if known."""

    def __init__(self, message: str, *, owner: str | None = None) -> None:
        super().__init__(message)
        self.owner = owner


class LineageMismatch(StoreError):
    """The folder holds a lineage grown from another recipe."""


class AccountingMismatch(BootstrapError, ValueError):
    """The accounting of prompts drawn and outcomes does not reconcile; the generation is not committed."""

    exit_code = 4


class VerifierError(BootstrapError, RuntimeError):
    """A verifier failed its sanity checks, or left too large a share of the answers unjudged."""

    exit_code = 4


class VerifierDrift(VerifierError):
    """A verifier that has judged a generation fails the probe before its commit, so nothing is committed."""


class SandboxUnavailable(VerifierError):
    """On this machine no confinement level that the recipe accepts withstands the probe attacks."""


class WorkerError(BootstrapError, RuntimeError):
    """A worker process died or reported a failure."""

    exit_code = 5


class FingerprintMismatch(WorkerError):
    """A worker's weights differ from those that the plan names."""


class MissingRollout(WorkerError):
    """The workers returned nothing for some of the sequences that they were given."""


class PeerFailed(WorkerError):
    """Another of the workers that train together has failed or is gone; its own error tells why."""


class UpdateFault(WorkerError):
    """An update's numbers are not finite, or beyond their bounds (`training.bounds`)."""


class WaitTimeout(WorkerError, TimeoutError):
    """A wait reached its bound; the message names what is awaited, from whom and since when."""


class ClusterError(BootstrapError, ConnectionError):
    """Ray cannot be reached or refused the job."""

    exit_code = 5


class TrackingError(BootstrapError, ConnectionError):
    """MLflow cannot be reached or refused a record; the outbox keeps unpublished records."""

    exit_code = 6


class GuardStop(BootstrapError, RuntimeError):
    """A guard of the recipe ended the run after a committed generation."""

    exit_code = 7


class NotReproduced(BootstrapError, RuntimeError):
    """A generation made again differs from its ledger record."""

    exit_code = 8


def system_reason(error: BaseException) -> str:
    """Return the operating system's reason beneath a client's error, as `Connection refused`.

    Without one, the error's own message or its type.
    """
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case OSError(errno=int(code), strerror=reason):
                # Errors of name resolution have negative numbers and their own messages.
                return os.strerror(code) if code > 0 else str(reason)
        cause = cause.__cause__ or cause.__context__
    return str(error).strip() or type(error).__name__
