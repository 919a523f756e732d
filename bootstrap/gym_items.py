"""Items of reasoning-gym, made again from data set, settings and seed, for its task and its verifier.

The same three give the same item in every process, as a digest in the reference proves. Left out: the choice of items
(`prompts/gym.py`) and judging answers (`scoring/gym.py`).
"""

import copy
import decimal
import hashlib
import io
import json
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from importlib import metadata
from types import ModuleType
from typing import Any

from bootstrap.errors import BootstrapError
from bootstrap.records import Record

REVIEWED = "0.1.25"
"""The release that the tables here and in the verifier were reviewed for."""

REFUSED = {
    "boxnet": "it gives no right answer to any of its questions, so no verifier could be probed",
    "codeio": "it runs programs of its data file to make items, and some of them reach for files",
    "composite": "it only mixes other data sets; name those in the recipe, each with its weight",
    "game_of_life_halting": "its scorer accepts every answer that is not empty",
    "rush_hour": "it gives no right answer to any of its questions, so no verifier could be probed",
}
"""Unusable data sets -> the reason."""

HASH_ORDERED = frozenset(
    {"isomorphic_strings", "knight_swap", "polynomial_multiplication", "ransom_note", "word_ladder"}
)
"""Data sets whose items depend on the order of sets of strings, which differs between processes."""

GLOBALLY_RANDOM = frozenset({"list_functions", "pool_matrix"})
"""Data sets that draw from or seed the process's global random generators."""

CACHED_ITEMS = 4096
PROBED_SEEDS = (0, 5, 2**31 + 1)
"""Seeds at which item n of one data set is compared with the first item of a data set of seed n."""


class Reference(Record):
    """The arguments that make an item again, and its digest."""

    dataset: str
    config: dict[str, Any]
    """The data set's own settings, without seed and size."""
    seed: int
    digest: str
    """The item's, from `digest`."""


def library(error: type[BootstrapError]) -> ModuleType:
    """Return the package. Raises `error` for a missing package or another release than the reviewed one."""
    try:
        installed = metadata.version("reasoning-gym")
    except metadata.PackageNotFoundError:
        raise error("the package reasoning-gym is missing; run pip install 'bootstrap-lm[gym]'") from None
    if installed != REVIEWED:
        raise error(
            f"reasoning-gym {installed} is installed, but its scorers are reviewed at {REVIEWED}; "
            f"run pip install 'reasoning-gym=={REVIEWED}'"
        )
    import reasoning_gym

    return reasoning_gym


def refusal(name: str) -> str:
    """Return why a data set is unusable in this process, or ""."""
    if name in REFUSED:
        return REFUSED[name]
    if name in HASH_ORDERED and sys.flags.hash_randomization:
        return "its items differ from process to process; set the environment variable PYTHONHASHSEED=0 everywhere"
    return ""


def item(name: str, config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return the item: `question`, `answer` and `metadata`. The caller must not change it.

    Raises the data set's error if it can make none; ValueError for settings that it refuses.
    """
    return _item(name, canonical(config), seed)


def validate(name: str, config: Mapping[str, Any]) -> None:
    """Raise the data set's error for settings that it refuses."""
    _dataset(name, canonical(config))


def score(name: str, config: Mapping[str, Any], entry: Mapping[str, Any], text: str) -> float:
    """Return the data set's own score of an answer to an item; the scorer gets a copy of the item.

    Raises the scorer's errors.
    """
    dataset = _dataset(name, canonical(config))[0]
    with _contained():
        return float(dataset.score_answer(text, copy.deepcopy(entry)))


def solution(name: str, entry: Mapping[str, Any]) -> str:
    """Return a right answer: the item's own, or its example if many are right.

    Raises ValueError for an item without one: sympy left the integral unsolved, and repeating the question would count
    as right.
    """
    match name:
        case "intermediate_integration" if "Integral(" in entry["answer"]:
            raise ValueError("the item's own answer is an unsolved integral")
        case "graph_color":
            return json.dumps(entry["metadata"]["possible_answer"])
        case "propositional_logic":
            return entry["metadata"]["example_answer"]
        case "rubiks_cube":
            return entry["metadata"]["example_correct_answer"]
        case _:
            return str(entry["answer"])


def digest(entry: Mapping[str, Any]) -> str:
    """Return the first 16 hex digits of the SHA-256 of question and answer."""
    return hashlib.sha256(f"{entry['question']}\x1f{entry['answer']}".encode()).hexdigest()[:16]


def canonical(value: Any) -> str:
    """Return a value as canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=CACHED_ITEMS)
def _item(name: str, config: str, seed: int) -> dict[str, Any]:
    dataset, by_index = _dataset(name, config)
    with _randomness_kept(name, seed), _contained():
        return dataset[seed] if by_index else _alone(name, config, seed)


@lru_cache
def _dataset(name: str, config: str) -> tuple[Any, bool]:
    """Return a data set with seed 0, and whether its item n is the only item of the data set with seed n.

    Item n draws from `Random(seed + n)`, so it nearly always is; then one data set serves all seeds.
    """
    from reasoning_gym.factory import create_dataset

    dataset = create_dataset(name, seed=0, size=1, **json.loads(config))
    try:
        for seed in PROBED_SEEDS:
            with _randomness_kept(name, seed), _contained():
                expected = digest(_alone(name, config, seed))
            with _randomness_kept(name, seed), _contained():
                if digest(dataset[seed]) != expected:
                    return dataset, False
    # Third-party code may raise anything, for an index beyond the size or a seed without an item.
    except Exception:
        return dataset, False
    return dataset, True


def _alone(name: str, config: str, seed: int) -> dict[str, Any]:
    from reasoning_gym.factory import create_dataset

    return create_dataset(name, seed=seed, size=1, **json.loads(config))[0]


@contextmanager
def _contained() -> Iterator[None]:
    """Shield this process's output and state from data sets.

    Some print their items or the model's text; `decimal_arithmetic` changes the decimal precision.
    """
    with redirect_stdout(io.StringIO()), decimal.localcontext(decimal.DefaultContext):
        yield


@contextmanager
def _randomness_kept(name: str, seed: int) -> Iterator[None]:
    """Seed the global generators for a data set that uses them, and restore their states afterwards."""
    if name not in GLOBALLY_RANDOM:
        yield
        return
    import numpy

    kept, kept_numpy = random.getstate(), numpy.random.get_state()
    random.seed(seed)
    numpy.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(kept)
        numpy.random.set_state(kept_numpy)
