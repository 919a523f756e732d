"""A small lineage on disk that looks like a real one: every artifact and record valid, nothing computed by a model.

`build(root)` writes generation 0, then one generation per outcome in `plan`, through the real store and ledger, so that
`bootstrap verify` finds nothing to say about it.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save
from support.rollouts import rollout, verdict

from bootstrap.canonical import canonical_json, sha256
from bootstrap.config.recipe import Recipe
from bootstrap.ledger_records import (
    Accounting,
    Annotations,
    Compute,
    ComputeCost,
    Decision,
    DiagnosticMetric,
    Diagnostics,
    Edge,
    FinalComparison,
    Generation,
    GenerationOutcome,
    GuardAction,
    GuardBreach,
    Interval,
    LevelReport,
    LevelTest,
    Report,
)
from bootstrap.records import Rollout, Selection, Status, Use, Verdict
from bootstrap.store.finals import FILE, KIND
from bootstrap.store.fingerprint import fingerprint_safetensors
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import to_parquet

PROMOTED, REJECTED, UNGATED = GenerationOutcome.PROMOTED, GenerationOutcome.REJECTED, GenerationOutcome.UNGATED
SMALL = (PROMOTED, REJECTED, PROMOTED)
"""What `build` grows after the base when it is not told otherwise."""
NASTY = "<img src=x onerror=alert(1)></script> [link](javascript:x) `code` & |pipe|\n# heading"
"""An answer that would break a page or a note that did not escape it."""
SETTINGS = Recipe.model_validate(
    {
        "name": "addition",
        "seed": 7,
        "task": {"type": "addition", "base_level": 4},
        "base": {"steps": [{"type": "sft", "updates": 6}]},
        "generations": {"count": 3, "steps": [{"type": "rl", "rounds": 6, "distillation": None}]},
        "tracking": {"uri": "https://user:secret@example.org", "sample_rollouts": 8},
    }
)
"""The recipe that every lineage made here claims to grow from."""
RECIPE: dict[str, Any] = SETTINGS.model_dump(mode="json")
OUTSIDE_FINGERPRINT = "e" * 64
LOOKAHEAD, NUM_PROMPTS, MASTERED, BASE_LEVEL = 2, 1000, 0.95, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateRow:
    """The columns of a step's table of updates that matter here."""

    update: int
    loss: float
    grad_norm: float
    reward: float | None
    informative_groups: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class OutcomeRow:
    prompt_id: str
    level: int
    correct: bool | None


def build(
    root: Path,
    *,
    plan: Sequence[GenerationOutcome] = SMALL,
    name: str = "addition",
    teacher: bool = True,
    outside: str | None = None,
    forked: str | None = None,
    merged: Sequence[int] = (),
) -> list[Entry]:
    """Write a lineage into the folder `root` and return its ledger's entries.

    `teacher`: whether a generation is taught by its parent's parent; `outside`: place of a model outside the lineage
    that teaches every generation as well; `forked`: the generation of another lineage that generation 0 starts from, as
    `other@gen-3`; `merged`: the generations whose weights the last one merges.
    """
    store = LineageStore(root)
    store.open(name, identity=SETTINGS.identity())
    outcomes = (GenerationOutcome.BASE, *plan)
    for number, outcome in enumerate(outcomes):
        last = number == len(outcomes) - 1
        more = {"forked": forked if number == 0 else None, "merged": merged if last else ()}
        grow(store, outcome=outcome, name=name, teacher=teacher, outside=outside, **more)
    return store.ledger.read()


def grow(
    store: LineageStore,
    *,
    outcome: GenerationOutcome,
    name: str = "addition",
    teacher: bool = True,
    outside: str | None = None,
    stage: str = "",
    tasks: Sequence[str] = (),
    settings: Recipe | None = None,
    change: Callable[[Generation], Generation] = lambda generation: generation,
    forked: str | None = None,
    merged: Sequence[int] = (),
) -> Entry:
    """Commit the next generation with the given outcome, of the given stage; `build` says what the rest means.

    `tasks`: parts of a mixture, whose prompts take turns; none for a single task. `settings`: the recipe that it grows
    from; None takes `SETTINGS`. `change`: called with the generation before it is committed.
    """
    settings, entries = settings or SETTINGS, store.ledger.read()
    number = len(entries)
    champion = entries[entries[-1].generation.champion].generation if entries else None
    weights = save({"embed.weight": np.full((12, 8), number, dtype=np.float32)})
    fingerprint = fingerprint_safetensors(weights)
    skill = BASE_LEVEL if champion is None else champion.report.frontier + (outcome is PROMOTED)
    target = tuple(range(1, BASE_LEVEL + 1)) if champion is None else (champion.report.frontier + 1,)
    evaluated = range(1, (target[-1] if champion is None else target[0]) + LOOKAHEAD + 1)
    report = Report(
        fingerprint=fingerprint,
        suite=sha256(f"suite {target}".encode()),
        levels=tuple(
            _level(level, skill=skill, worse=outcome is REJECTED and level == 2, sampled=level in target)
            for level in evaluated
        ),
        frontier=skill if outcome is not REJECTED else 1,
        generalization_margin=1,
        mastered=MASTERED,
        parts={
            task: tuple(
                _level(level, skill=skill - place, worse=outcome is REJECTED and level == 2, sampled=False)
                for level in evaluated
            )
            for place, task in enumerate(tasks)
        },
        panel={"copy": (_level(1, skill=1, worse=outcome is REJECTED, sampled=False),)},
    )
    asked = fingerprint if champion is None else champion.fingerprint
    rollouts, verdicts, selections = _rollouts(number, policy=asked, level=target[-1], tasks=tasks)
    passed = sum(verdict.status is Status.PASS for verdict in verdicts)
    trained = sum(selection.use is not Use.NONE for selection in selections)
    generated = sum(len(rollout.tokens) for rollout in rollouts)
    artifacts = {
        "weights": store.put("weights", {"n": number}, _model_files(weights, name=name, number=number)),
        "evaluation": store.put(
            "evaluation",
            {"n": number},
            {
                "report.json": canonical_json(report.model_dump(mode="json")),
                "outcomes.parquet": to_parquet(
                    [OutcomeRow(prompt_id=f"p{i}", level=1, correct=i % 3 > 0) for i in range(30)], OutcomeRow
                ),
                "samples.parquet": to_parquet(rollouts[:8], Rollout),
                "verdicts.parquet": to_parquet(verdicts[:8], Verdict),
            },
        ),
        "step-0": store.put(
            "step",
            {"n": number},
            {
                **(
                    {}
                    if champion is None
                    else {
                        "rollouts.parquet": to_parquet(rollouts, Rollout),
                        "verdicts.parquet": to_parquet(verdicts, Verdict),
                        "selections.parquet": to_parquet(selections, Selection),
                    }
                ),
                "updates.parquet": to_parquet(_updates(is_base=champion is None), UpdateRow),
            },
        ),
    }
    generation = Generation(
        number=number,
        stage=stage,
        lineage=name,
        outcome=outcome,
        edges=_origin(forked)
        if champion is None
        else _edges(entries, champion, teacher=teacher, outside=outside, merged=merged),
        target_levels=target,
        fingerprint=fingerprint,
        recipe_digest=settings.digest(),
        code_version="0.1.0+abc",
        seed=settings.seed,
        num_workers=2,
        batch_rows=512,
        verifiers={"exact": "v" + "1" * 15},
        artifacts={role: artifact.ref(store.root) for role, artifact in artifacts.items()},
        report=report,
        decision=_decision(outcome, report, champion),
        compute=Compute(
            flops={"generate": 3.1e11 * number, "train": 2.4e12, "evaluate": 5e11},
            tokens={"generate": generated * bool(number), "train": 480_000, "evaluate": 61_000},
            useful_tokens=generated // 2 * bool(number),
            verdicts=len(verdicts) * bool(number),
        ),
        accounting=Accounting()
        if champion is None
        else Accounting(
            prompts_drawn=len(rollouts) // 8,
            rollouts=len(rollouts),
            verdicts=len(verdicts),
            passed=passed,
            failed=len(verdicts) - passed,
            trained=trained,
            replayed=passed,
            dropped={"group without variance": len(rollouts) - trained},
        ),
        champion=number if outcome in (GenerationOutcome.BASE, GenerationOutcome.PROMOTED) else champion.number,
        diagnostics=_diagnostics(outcome),
    )
    annotations = Annotations(
        started=f"2026-01-01T10:{number % 60:02d}:00+00:00",
        finished=f"2026-01-01T10:{number % 60:02d}:41+00:00",
        host="test",
        seconds={"generate": 9.2, "score": 0.3, "train": 21.5 + number, "evaluate": 4.0, "other": 0.4},
        versions={"torch": "2.13.0"},
        bound_fraction={"generate": 0.11, "train": 0.36},
        environment={"ray_submission_id": "addition-a1", "git_commit": "c" * 40},
    )
    return store.ledger.append(change(generation), annotations)


def restarted(root: Path) -> list[Entry]:
    """Write a lineage whose champions gen-3 and gen-5 start from the base again, and return its entries.

    gen-3 beats gen-1 and gen-5 beats gen-3; gen-2 is rejected, gen-4 ungated.
    """
    [base, *_] = build(root, plan=(PROMOTED, REJECTED))
    start = Edge(role="init", generation=0, fingerprint=base.generation.fingerprint)
    for outcome in (PROMOTED, UNGATED, PROMOTED):
        grow(LineageStore(root), outcome=outcome, change=lambda node: node.model_copy(update={"edges": (start,)}))
    return LineageStore(root).ledger.read()


def compare_finally(store: LineageStore, *, accuracy: float = 0.9) -> FinalComparison:
    """Store a final comparison of the lineage as it is, and return it."""
    entries = store.ledger.read()
    made = FinalComparison(
        record=entries[-1].hash,
        generation=entries[-1].generation.number,
        champion=entries[-1].generation.champion,
        levels=(1, 2),
        num_prompts=200,
        num_unverifiable=0,
        accuracy=accuracy,
        base_accuracy=0.4,
        gained=110,
        lost=10,
        p_value=1e-9,
        difference=Interval(low=accuracy - 0.5, high=accuracy - 0.3),
        compute=Compute(),
    )
    store.put(KIND, {"record": made.record, "accuracy": accuracy}, {FILE: made.model_dump_json().encode()})
    return made


def _diagnostics(outcome: GenerationOutcome) -> Diagnostics:
    """Return diagnostics within bounds, but for answers of rejected generations, many of which were cut."""
    cut = 0.25 if outcome is REJECTED else 0.0
    above = GuardBreach(metric=DiagnosticMetric.TRUNCATED, value=cut, side="max", bound=0.1, action=GuardAction.WARN)
    return Diagnostics(entropy=0.21, truncated=cut, overlap=0.0, findings=(above,) if cut else ())


def _level(level: int, *, skill: int, worse: bool, sampled: bool) -> LevelReport:
    distance = skill - level
    accuracy = 0.997 - 0.004 * max(0, 2 - distance) if distance >= 0 else 0.95 / (1 + math.exp(1.6 * -distance - 1))
    correct = round(NUM_PROMPTS * (accuracy - 0.12 * worse))
    share = correct / NUM_PROMPTS
    reach = 1.96 * math.sqrt(max(share * (1 - share), 1e-4) / NUM_PROMPTS)
    extra = {"num_samples": 8, "pass_at_1": share, "pass_at_k": min(1, share + 0.05), "k": 4, "majority_at_k": share}
    return LevelReport(
        level=level,
        num_prompts=NUM_PROMPTS,
        num_correct=correct,
        accuracy=share,
        interval=Interval(low=max(0, share - reach), high=min(1, share + reach)),
        mean_length=level + 1.5,
        truncated=0.0,
        **({**extra, "entropy": 0.21, "distinct_answers": 1.7} if sampled else {}),
    )


def _origin(forked: str | None) -> tuple[Edge, ...]:
    """Return the edge of a generation 0 that starts from another lineage's generation; none without one."""
    if forked is None:
        return ()
    cost = ComputeCost(start={"train": 1e12}, since={})
    fingerprint, record = OUTSIDE_FINGERPRINT, sha256(forked.encode())
    edge = Edge(
        role="init", generation=None, external=forked, record=record, compute_cost=cost, fingerprint=fingerprint
    )
    return (edge,)


def _edges(
    entries: Sequence[Entry], champion: Generation, *, teacher: bool, outside: str | None, merged: Sequence[int]
) -> tuple[Edge, ...]:
    sources = [entries[number].generation for number in merged]
    edges = [Edge(role="merged", generation=one.number, fingerprint=one.fingerprint) for one in sources]
    edges = edges or [Edge(role="init", generation=champion.number, fingerprint=champion.fingerprint)]
    if teacher and champion.parent is not None:
        tutor = entries[champion.parent].generation
        edges.append(Edge(role="teacher", generation=tutor.number, fingerprint=tutor.fingerprint))
    if outside is not None:
        edges.append(Edge(role="teacher", generation=None, external=outside, fingerprint=OUTSIDE_FINGERPRINT))
    edges += [
        Edge(role="data", generation=entry.generation.number, fingerprint=sha256(entry.hash.encode()))
        for entry in entries
        if entry.generation.outcome not in (REJECTED, UNGATED)
    ]
    return tuple(edges)


def _decision(outcome: GenerationOutcome, report: Report, champion: Generation | None) -> Decision:
    if champion is None:
        return Decision(promoted=True, reason="generation 0 is the base", champion=None)
    target = champion.report.frontier + 1
    before, after = champion.report.level(target), report.level(target)
    promoted = outcome is PROMOTED
    gained, lost = _changed(before.accuracy, after.accuracy, both_ways=12)
    improvement = LevelTest(
        levels=(target,),
        num_prompts=NUM_PROMPTS,
        candidate=after.accuracy,
        champion=before.accuracy,
        gained=gained,
        lost=lost,
        p_value=3e-40 if promoted else 0.6,
        difference_low=0.25 if promoted else -0.01,
        passed=promoted,
    )
    kept = [(champion.report.level(level), report.level(level)) for level in range(1, champion.report.frontier + 1)]
    retention = tuple(
        LevelTest(
            levels=(now.level,),
            num_prompts=NUM_PROMPTS,
            candidate=now.accuracy,
            champion=earlier.accuracy,
            gained=_changed(earlier.accuracy, now.accuracy)[0],
            lost=_changed(earlier.accuracy, now.accuracy)[1],
            difference_low=now.accuracy - earlier.accuracy - 0.005,
            passed=promoted or now.level != 2,
        )
        for earlier, now in kept
    )
    panel = LevelTest(
        levels=(1,),
        num_prompts=NUM_PROMPTS,
        candidate=report.panel["copy"][0].accuracy,
        champion=champion.report.panel["copy"][0].accuracy,
        gained=1,
        lost=1 if promoted else 121,
        difference_low=-0.002 if promoted else -0.14,
        passed=promoted,
    )
    shares = f"{before.accuracy:.3f} -> {after.accuracy:.3f}"
    reason = (
        f"level {target}: {shares} (p 3e-40); levels 1-{champion.report.frontier} retained"
        if promoted
        else f"rejected: level {target} {shares} is no significant improvement (p 0.6, alpha 0.05, {gained} gained, "
        f"{lost} lost); level 2 fell 0.996 -> 0.877 (lower bound -0.124, margin 0.030)"
    )
    return Decision(
        promoted=promoted,
        reason=reason,
        champion=champion.number,
        improvement=improvement,
        retention=retention,
        panel={"copy": panel},
    )


def _changed(before: float, after: float, *, both_ways: int = 2) -> tuple[int, int]:
    """Return the prompts gained and lost between two accuracies, `both_ways` of them in either direction."""
    net = round(NUM_PROMPTS * (after - before))
    return both_ways + max(net, 0), both_ways + max(-net, 0)


def _rollouts(
    number: int, *, policy: str, level: int, tasks: Sequence[str]
) -> tuple[list[Rollout], list[Verdict], list[Selection]]:
    rollouts, verdicts, selections = [], [], []
    for prompt in range(6):
        task = tasks[prompt % len(tasks)] if tasks else ""
        for sample in range(8):
            identity = f"g{number}.s0.u{prompt}.p0.k{sample}"
            right = (prompt + sample) % 3 > 0
            answer = "640" if right else (NASTY if sample == 0 else "641")
            rollouts.append(
                rollout(
                    identity,
                    length=3,
                    prompt_id=f"{prompt:016x}",
                    prompt_text=f"21+4{prompt}=",
                    task=task,
                    level=level,
                    text=answer,
                    policy=policy,
                    seed=sample,
                )
            )
            verdicts.append(
                verdict(
                    identity,
                    Status.PASS if right else Status.FAIL,
                    breakdown={"exact": float(right)},
                    reason="equals the reference" if right else "differs from the reference",
                )
            )
            live = prompt % 2 == 0
            selections.append(
                Selection(
                    rollout_id=identity,
                    use=Use.RL if live else Use.NONE,
                    replay=right,
                    reason="" if live else "group without variance",
                )
            )
    return rollouts, verdicts, selections


def _updates(*, is_base: bool) -> list[UpdateRow]:
    return [
        UpdateRow(
            update=update,
            loss=2.0 / (update + 1),
            grad_norm=0.5,
            reward=None if is_base else 0.3 + 0.1 * update,
            informative_groups=None if is_base else 0.8,
        )
        for update in range(6)
    ]


def _model_files(weights: bytes, *, name: str, number: int) -> dict[str, bytes]:
    texts = {
        "config.json": json.dumps({"model_type": "smollm3", "vocab_size": 12}),
        "tokenizer.json": json.dumps(
            {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}
        ),
        "tokenizer_config.json": json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}),
        "generation_config.json": json.dumps({"eos_token_id": 1}),
        "README.md": f"# {name} gen-{number}\n",
    }
    return {"model.safetensors": weights, **{key: value.encode() for key, value in texts.items()}}
