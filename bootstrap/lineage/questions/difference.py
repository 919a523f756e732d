"""What differs between two generations: settings, data, verifiers, metrics, and answers to the same prompts.

The two may belong to different lineages. Answers are the greedy ones of their evaluations. Left out: several lineages
as wholes (`comparison.py`).
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from bootstrap.errors import RecipeError
from bootstrap.ledger_records import DiagnosticMetric, Generation
from bootstrap.lineage import queries
from bootstrap.lineage.questions import tables
from bootstrap.lineage.questions.grown import Grown
from bootstrap.lineage.questions.locate import EVALUATION, SAMPLES, outcomes
from bootstrap.lineage.questions.records import Records
from bootstrap.lineage.questions.settings import Change, changes, settings_of
from bootstrap.paired import mcnemar_exact


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One metric of both; None where a side was not measured."""

    name: str
    a: float | None
    b: float | None
    difference: float | None
    """b - a."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelPair:
    """Greedy answers of both to the same held-out prompts of one level."""

    task: str
    """A task of the panel; empty for the run's own."""
    level: int
    prompts: int
    """Prompts that both answered and that were judged for both."""
    both: int
    """Answered right by both."""
    only_a: int
    only_b: int
    neither: int
    p_value: float
    """Exact McNemar, two-sided: the probability of so unequal a split of `only_a` and `only_b` by chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangedAnswer:
    """A prompt that one of the two answers right and the other does not."""

    task: str
    level: int
    prompt_id: str
    prompt: str
    """Empty where it is not known: no evaluation keeps a sample of it, and the recipe does not tell."""
    a: str
    b: str
    right: str
    """Who is right: a or b."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The answer."""

    a: str
    """`quickstart@gen-1`."""
    b: str
    same_weights: bool
    settings: Records[Change]
    data: Records[Change]
    verifiers: Records[Change]
    metrics: Records[Measured]
    paired: Records[LevelPair]
    answers: Records[ChangedAnswer]
    """Level by level, those that are right in b alone first; those whose prompt is known before others."""


def difference(
    a: tuple[Grown, str], b: tuple[Grown, str], *, texts: Mapping[str, str] = MappingProxyType({})
) -> Difference:
    """Return what differs between two generations, each given as (lineage, name).

    `texts`: prompt id -> text, beside the texts of prompts of which an evaluation keeps a sample. Raises RecipeError
    for an unknown generation and where both are the same one, StoreCorrupt.
    """
    (ours, first), (theirs, second) = a, b
    one, two = ours.find(first), theirs.find(second)
    if one.number == two.number and ours.store.root.absolute() == theirs.store.root.absolute():
        raise RecipeError(f"{first} and {second} are both {one.name} of lineage {ours.name}; name two generations")
    paired, answers = _answers((ours, one), (theirs, two), texts=texts)
    return Difference(
        a=f"{ours.name}@{one.name}",
        b=f"{theirs.name}@{two.name}",
        same_weights=one.fingerprint == two.fingerprint,
        settings=Records(_changes(_settings(ours, one), _settings(theirs, two)), kind=Change),
        data=Records(_changes(_data(one), _data(two)), kind=Change),
        verifiers=Records(_changes(_verifiers(ours, one), _verifiers(theirs, two)), kind=Change),
        metrics=Records(_metrics(one, two), kind=Measured),
        paired=Records(paired, kind=LevelPair),
        answers=Records(answers, kind=ChangedAnswer),
    )


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Change]:
    return changes(dict(a), dict(b))


def _settings(grown: Grown, node: Generation) -> dict[str, Any]:
    """Return the settings that one generation was made with, apart from its verifiers."""
    identity = {key: value for key, value in grown.header.identity.items() if key not in ("generations", "verifier")}
    own = settings_of(node, grown.header)
    stage = {key: value for key, value in own["stage"].items() if key != "verifier"}
    return {**identity, **own, "stage": stage}


def _data(node: Generation) -> dict[str, Any]:
    """Return what a generation was made from: its edges by role, and what became of its rollouts."""
    edges: dict[str, str] = {}
    for role in dict.fromkeys(edge.role for edge in node.edges):
        edges[f"from.{role}"] = ", ".join(queries.source(edge) for edge in node.edges if edge.role == role)
    counts = {key: value for key, value in node.accounting.model_dump(exclude={"dropped"}).items() if value}
    dropped = {f"dropped, {reason}": count for reason, count in node.accounting.dropped.items()}
    return {**edges, **counts, **dropped, "suite": node.report.suite[:12]}


def _verifiers(grown: Grown, node: Generation) -> dict[str, Any]:
    """Return the versions of a generation's verifiers, and the settings of the one that judged its answers."""
    return {**node.verifiers, "settings": verifier_settings(grown, node)}


def verifier_settings(grown: Grown, node: Generation) -> Any:
    """Return the settings of the verifier that judged a generation's training answers: its stage's, or the recipe's."""
    match grown.header.section("generations"):
        case {"stages": [*stages]}:
            named = [stage for stage in stages if isinstance(stage, dict) and stage.get("name") == node.stage]
            own = named[0].get("verifier") if named else None
        case _:
            own = None
    return own or grown.header.identity.get("verifier")


def _metrics(a: Generation, b: Generation) -> Iterator[Measured]:
    """Yield every metric that one of both has; accuracies first, then diagnostics and cost."""
    ours, theirs = _measured(a), _measured(b)
    for name in dict.fromkeys([*ours, *theirs]):
        one, other = ours.get(name), theirs.get(name)
        gain = None if one is None or other is None else other - one
        yield Measured(name=name, a=one, b=other, difference=gain)


def _measured(node: Generation) -> dict[str, float]:
    report, compute = node.report, node.compute
    found: dict[str, float | None] = {f"accuracy level {row.level}": row.accuracy for row in report.levels}
    for kind, rows in {**report.parts, **{f"panel {name}": rows for name, rows in report.panel.items()}}.items():
        found |= {f"accuracy {kind} level {row.level}": row.accuracy for row in rows}
    found |= {"frontier": report.frontier, "generalization margin": report.generalization_margin}
    found |= {f"diagnostics {metric.value}": node.diagnostics.value(metric) for metric in DiagnosticMetric}
    found |= {"tokens": compute.total_tokens, "useful tokens": compute.useful_tokens, "FLOPs": compute.total_flops}
    return {name: float(value) for name, value in found.items() if value is not None}


def _answers(
    a: tuple[Grown, Generation], b: tuple[Grown, Generation], *, texts: Mapping[str, str]
) -> tuple[list[LevelPair], list[ChangedAnswer]]:
    ours, theirs = outcomes(*a), outcomes(*b)
    shared = [key for key in ours if key in theirs]
    judged = [key for key in shared if None not in (ours[key]["correct"], theirs[key]["correct"])]
    pairs: dict[tuple[str, int], Counter[tuple[bool, bool]]] = {}
    changed = []
    for key in judged:
        row, other = ours[key], theirs[key]
        pairs.setdefault((key[0], row["level"]), Counter())[row["correct"], other["correct"]] += 1
        if row["correct"] != other["correct"]:
            changed.append(
                ChangedAnswer(
                    task=key[0],
                    level=row["level"],
                    prompt_id=key[1],
                    prompt="",
                    a=row["text"],
                    b=other["text"],
                    right="a" if row["correct"] else "b",
                )
            )
    levels = {one.level for one in changed}
    prompts = {**_texts(*b, levels), **_texts(*a, levels), **texts}
    changed = [replace(one, prompt=prompts.get(one.prompt_id, "")) for one in changed]
    changed.sort(key=lambda one: (one.task, one.level, one.right == "a", not one.prompt, one.prompt_id))
    return [_paired(task, level, pairs[task, level]) for task, level in sorted(pairs)], changed


def _paired(task: str, level: int, found: Counter[tuple[bool, bool]]) -> LevelPair:
    only_a, only_b = found[True, False], found[False, True]
    return LevelPair(
        task=task,
        level=level,
        prompts=found.total(),
        both=found[True, True],
        only_a=only_a,
        only_b=only_b,
        neither=found[False, False],
        p_value=mcnemar_exact(only_a, lost=only_b),
    )


def _texts(grown: Grown, node: Generation, levels: Collection[int]) -> dict[str, str]:
    """Return prompt id -> text of the held-out prompts of these levels of which evaluations keep a sample.

    An evaluation samples the levels that its generation aims at, the same prompts each time: one that aims at a level
    stands for all.
    """
    aiming = {level: entry.generation for entry in reversed(grown.entries) for level in entry.generation.target_levels}
    asked = {one.number: one for one in [node, *(aiming[level] for level in sorted(levels) if level in aiming)]}
    found: dict[str, str] = {}
    for one in asked.values():
        if EVALUATION in one.artifacts:
            artifact = grown.store.artifact(one.artifacts[EVALUATION])
            rows = tables.rows(artifact, SAMPLES, {"prompt_id": "", "prompt_text": ""})
            found |= {row["prompt_id"]: row["prompt_text"] for row in rows}
    return found
