"""A lineage with everything that a lineage can have, on disk and without training.

    addition   gen-0 -> gen-1 -> gen-3                        one task; gen-2 is rejected
                                   |
    rich                         gen-0 -> gen-1 -> gen-3 ------> gen-6 -> gen-8      two tasks
                                            |         |            ^  |
                                          gen-2     gen-4,       merged gen-7
                                                    gen-5 ---------+

gen-1 has a teacher outside the lineage; gen-2, gen-4 and gen-7 are rejected, gen-4 by a guard; gen-5 is ungated, as a
student; gen-6 merges gen-3 and gen-5, and two generations vote on its answers.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support.lineage_factory import OUTSIDE_FINGERPRINT, PROMOTED, REJECTED, UNGATED, build, grow

from bootstrap.canonical import sha256
from bootstrap.config.recipe import Recipe
from bootstrap.ledger_records import (
    ComputeCost,
    Decision,
    DiagnosticMetric,
    Edge,
    Generation,
    GenerationOutcome,
    GuardAction,
    GuardBreach,
)
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore

NAME, ORIGIN = "rich", "addition"
TASKS = ("addition", "reversal")
TEACHER = "/models/tutor"
GENERATIONS: tuple[tuple[GenerationOutcome, str], ...] = (
    (GenerationOutcome.BASE, ""),
    (PROMOTED, "taught"),
    (REJECTED, "taught"),
    (PROMOTED, "alone"),
    (REJECTED, "alone"),
    (UNGATED, "student"),
    (PROMOTED, "merged"),
    (REJECTED, "last"),
    (PROMOTED, "last"),
)
"""Outcome and stage of each generation."""


def build_rich(root: Path) -> list[Entry]:
    """Write the lineage `rich` into the folder `root`, and the one that it was forked from into `addition` beside it.

    Returns its ledger's entries. The name of `root` should be `rich`, as the command line finds lineages by folder.
    """
    origin = build(root.parent / ORIGIN, plan=(PROMOTED, REJECTED, PROMOTED), name=ORIGIN)[3]
    settings = recipe(origin)
    store = LineageStore(root)
    store.open(NAME, identity=settings.identity())
    for outcome, stage in GENERATIONS:
        entries = store.ledger.read()
        grow(
            store,
            outcome=outcome,
            name=NAME,
            stage=stage,
            tasks=TASKS,
            settings=settings,
            change=_changed(entries, origin),
        )
    return store.ledger.read()


def recipe(origin: Entry) -> Recipe:
    """Return the recipe of the lineage that starts from `origin`."""
    forked = {
        "type": "generation",
        "lineage": ORIGIN,
        "number": origin.generation.number,
        "fingerprint": origin.generation.fingerprint,
        "record": origin.hash,
        "level": origin.generation.target_levels[-1],
    }
    rl = {"type": "rl", "rounds": 2, "distillation": None}
    tutor = {"loss": "forward_kl", "teacher": {"type": "folder", "path": TEACHER}}
    merge = {"type": "merge", "models": ["champion", {"type": "stage", "stage": "student"}]}
    stages: list[dict[str, Any]] = [
        {"name": "taught", "generations": 2, "steps": [{"type": "distill", "updates": 2, "distillation": tutor}]},
        {"name": "alone", "generations": 2, "steps": [rl]},
        {"name": "student", "gate": "never", "steps": [rl]},
        {"name": "merged", "steps": [merge, rl], "verifier": {"type": "majority", "voters": ["champion", 1]}},
        {"name": "last", "generations": 2, "steps": [rl]},
    ]
    return Recipe.model_validate(
        {
            "name": NAME,
            "seed": 7,
            "task": {
                "type": "mixture",
                "base_level": 4,
                "parts": {task: {"task": {"type": task}} for task in TASKS},
            },
            "base": {"model": forked, "steps": [{"type": "sft", "updates": 6}]},
            "generations": {"stages": stages},
            "guards": [{"metric": "truncated", "max": 0.1, "action": "reject"}],
            "tracking": {"sample_rollouts": 8},
        }
    )


def _changed(entries: Sequence[Entry], origin: Entry) -> Callable[[Generation], Generation]:
    """Return the function that gives the next generation its own edges and decision."""
    generations = [entry.generation for entry in entries]

    def edge(role: str, number: int) -> Edge:
        return Edge(role=role, generation=number, fingerprint=generations[number].fingerprint)

    def data(*numbers: int) -> list[Edge]:
        return [
            Edge(role="data", generation=number, fingerprint=sha256(entries[number].hash.encode()))
            for number in numbers
        ]

    def change(generation: Generation) -> Generation:
        match generation.number:
            case 0:
                edges = [_fork(origin)]
            case 1 | 2 as number:
                tutor = Edge(role="teacher", generation=None, external=TEACHER, fingerprint=OUTSIDE_FINGERPRINT)
                edges = [edge("init", number - 1), tutor, *data(*range(number))]
            case 3:
                edges = [edge("init", 1), edge("sampler", 0), edge("reference", 1), *data(0, 1)]
            case 4:
                edges = [edge("init", 3), *data(0, 1, 3)]
                generation = _broken(generation)
            case 5:
                edges = [edge("init", 3), edge("teacher", 1), *data(0, 1, 3)]
                reason = "not compared with the champion: stage student has no gate"
                decision = Decision(promoted=False, reason=reason, champion=None)
                generation = generation.model_copy(update={"decision": decision})
            case 6:
                edges = [edge("merged", 3), edge("merged", 5), edge("voter", 3), edge("voter", 1), *data(0, 1, 3)]
            case _:
                edges = [edge("init", 6), edge("teacher", 3), *data(0, 1, 3, 6)]
        return generation.model_copy(update={"edges": tuple(edges)})

    return change


def _fork(origin: Entry) -> Edge:
    return Edge(
        role="init",
        generation=None,
        external=f"{ORIGIN}@{origin.generation.name}",
        record=origin.hash,
        compute_cost=ComputeCost(start={"train": 2.4e12}, since={"generate": 1.24e12, "train": 4.8e12}),
        fingerprint=origin.generation.fingerprint,
    )


def _broken(generation: Generation) -> Generation:
    """Return the generation as better than the champion, and rejected by a guard alone."""
    breach = GuardBreach(
        metric=DiagnosticMetric.TRUNCATED, value=0.25, side="max", bound=0.1, action=GuardAction.REJECT
    )
    tests = generation.decision
    assert tests.improvement is not None
    improvement = tests.improvement.model_copy(update={"passed": True, "gained": 300, "p_value": 3e-40})
    decision = tests.model_copy(update={"reason": f"rejected: {breach}", "improvement": improvement})
    diagnostics = generation.diagnostics.model_copy(update={"findings": (breach,)})
    return generation.model_copy(update={"decision": decision, "diagnostics": diagnostics})
