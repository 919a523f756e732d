"""How much is asked of MLflow: the calls of its client in a block of code, by name.

Importing this module imports MLflow, which takes seconds: import it where it is used.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from mlflow import MlflowClient


@contextmanager
def counted_requests() -> Iterator[Counter[str]]:
    """Count the calls of MLflow's clients while the block runs; those that a call makes itself count too."""
    asked: Counter[str] = Counter()

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            asked[name] += 1
            return real(*args, **kwargs)

        return call

    with ExitStack() as patches:
        for name in dir(MlflowClient):
            if callable(real := getattr(MlflowClient, name)) and not name.startswith("_"):
                patches.enter_context(mock.patch.object(MlflowClient, name, counted(name, real)))
        yield asked
