"""Items of reasoning-gym, made again from data set, settings and seed: what its task and its verifier both stand on.

The same three give the same item in every process, and a digest in the reference proves it. Left out: which items are
asked (`prompts/gym.py`) and how answers to them are judged (`scoring/gym.py`).
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
"""The release whose generators and scorers the tables here and the verifier's fit."""

REFUSED = {
    "boxnet": "it gives no right answer to any of its questions, so no verifier could be probed",
    "codeio": "it runs programs of its data file to make items, and some of them reach for files",
    "composite": "it only mixes other data sets; name those in the recipe, each with its weight",
    "game_of_life_halting": "its scorer accepts every answer that is not empty",
    "rush_hour": "it gives no right answer to any of its questions, so no verifier could be probed",
}
"""Data sets that cannot be learnt from, and why."""

HASH_ORDERED = frozenset(
    {"isomorphic_strings", "knight_swap", "polynomial_multiplication", "ransom_note", "word_ladder"}
)
"""Data sets whose items depend on the order of sets of strings, which Python salts in every process."""

GLOBALLY_RANDOM = frozenset({"list_functions", "pool_matrix"})
"""Data sets that draw from, or seed, the process's global random generators."""

CACHED_ITEMS = 4096
PROBED_SEEDS = (0, 5, 2**31 + 1)
"""Seeds at which a data set's items by index are compared with those of data sets made for one seed."""


class Reference(Record):
    """What finds an item again."""

    dataset: str
    config: dict[str, Any]
    """The data set's own settings, seed and size left out."""
    seed: int
    digest: str
    """Of the item, by `digest`."""


def library(error: type[BootstrapError]) -> ModuleType:
    """Return the package. Raises `error` where it is missing or of another release than the one reviewed."""
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
    """Return why a data set cannot be used in this process, or nothing."""
    if name in REFUSED:
        return REFUSED[name]
    if name in HASH_ORDERED and sys.flags.hash_randomization:
        return "its items differ from process to process; set the environment variable PYTHONHASHSEED=0 everywhere"
    return ""


def item(name: str, config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return the item: `question`, `answer` and `metadata`. The caller must not change it.

    Raises whatever the data set raises where it can make none; ValueError for settings that it refuses.
    """
    return _item(name, canonical(config), seed)


def validate(name: str, config: Mapping[str, Any]) -> None:
    """Raise whatever the data set raises over settings that it refuses."""
    _dataset(name, canonical(config))


def score(name: str, config: Mapping[str, Any], entry: Mapping[str, Any], text: str) -> float:
    """Return the data set's own score of an answer to an item, of which the scorer gets a copy.

    Raises whatever the scorer raises.
    """
    dataset = _dataset(name, canonical(config))[0]
    with _contained():
        return float(dataset.score_answer(text, copy.deepcopy(entry)))


def solution(name: str, entry: Mapping[str, Any]) -> str:
    """Return a right answer: the item's own, or the example that it gives where many are right.

    Raises ValueError when the item has none: an integral that sympy could not solve stands in its own answer, where
    writing the question down would do for any.
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
    """Return the first 16 hex digits of SHA-256 over question and answer."""
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
    """Return a data set with seed 0, and whether its item number n is the only item of the data set with seed n.

    Item n of a data set draws from `Random(seed + n)`, so nearly always it is; then no data set need be made per item.
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
    # Third-party code that may raise anything: an index beyond the size, or a seed without an item.
    except Exception:
        return dataset, False
    return dataset, True


def _alone(name: str, config: str, seed: int) -> dict[str, Any]:
    from reasoning_gym.factory import create_dataset

    return create_dataset(name, seed=seed, size=1, **json.loads(config))[0]


@contextmanager
def _contained() -> Iterator[None]:
    """Keep data sets from this process's output and state.

    Some print what they made, or the model's own text; `decimal_arithmetic` leaves its own precision behind.
    """
    with redirect_stdout(io.StringIO()), decimal.localcontext(decimal.DefaultContext):
        yield


@contextmanager
def _randomness_kept(name: str, seed: int) -> Iterator[None]:
    """Seed the global generators for a data set that uses them, and put them back afterwards."""
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
