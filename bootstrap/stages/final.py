"""The final comparison: the delivered champion against generation 0, once, on prompts that no gate has seen.

The gate asks the same held-out prompts again and again and keeps candidates that do well on them, so their figures
flatter the champion. The final set is a share of the questions that nothing else asks (`task.final_fraction`).

    store/artifacts/final-*     final.json, and the answers of both sides

Left out: reading it back (`store/finals.py`).
"""

from collections.abc import Iterable, Sequence

from bootstrap.evaluation.gate import unrepeated
from bootstrap.evaluation.intervals import paired_interval
from bootstrap.evaluation.report import OutcomeRow, outcomes
from bootstrap.ids import Asking, HeldoutId
from bootstrap.ledger_records import FinalComparison, GenerationOutcome
from bootstrap.paired import mcnemar_exact
from bootstrap.prompts.splits import suite_digest
from bootstrap.records import Event, Prompt
from bootstrap.stages.context import Context, Meter
from bootstrap.stages.evaluate import SEED
from bootstrap.stages.generate import generate, judge, requests, sampling
from bootstrap.stages.probe import probe_finally
from bootstrap.stages.weights import provide_base, weights_of
from bootstrap.store.finals import FILE, KIND
from bootstrap.store.ledger import Entry
from bootstrap.store.tables import to_parquet


def compare_finally(context: Context, entries: Sequence[Entry]) -> FinalComparison | None:
    """Return the comparison of a finished lineage, made now unless it is in the store; None without a final set.

    Raises VerifierError when too many answers cannot be judged, VerifierDrift when what judged them fails its probe.
    """
    by_level = _final_prompts(context, entries)
    if not by_level:
        return None
    prompts = [prompt for level in by_level for prompt in by_level[level]]
    inputs = {**context.identity(), "record": entries[-1].hash, "prompts": suite_digest(prompts)}
    found = context.store.find(KIND, inputs)
    if found is not None:
        return FinalComparison.model_validate_json(found.read(FILE))
    champion, meter = entries[-1].generation.champion, context.meter()
    provide_base(context, entries)
    base = _answers(context, entries, 0, by_level, meter=meter)
    best = _answers(context, entries, champion, by_level, meter=meter) if champion else base
    pairs = [
        (ours.correct, theirs.correct)
        for ours, theirs in zip(best, base, strict=True)
        if ours.correct is not None and theirs.correct is not None
    ]
    probe_finally(context, meter=meter)
    gained, lost = pairs.count((True, False)), pairs.count((False, True))
    report = FinalComparison(
        record=entries[-1].hash,
        generation=entries[-1].generation.number,
        champion=champion,
        levels=tuple(by_level),
        num_prompts=len(pairs),
        num_unverifiable=len(prompts) - len(pairs),
        accuracy=_share(right for right, _ in pairs),
        base_accuracy=_share(right for _, right in pairs),
        gained=gained,
        lost=lost,
        p_value=mcnemar_exact(gained, lost=lost),
        difference=paired_interval(gained, lost=lost, total=len(pairs)) if pairs else None,
        compute=meter.compute(),
    )
    files = {FILE: report.model_dump_json().encode()}
    files |= {f"outcomes-{n}.parquet": to_parquet(rows, OutcomeRow) for n, rows in ((0, base), (champion, best))}
    context.store.put(KIND, inputs, files)
    return report


def _final_prompts(context: Context, entries: Sequence[Entry]) -> dict[int, list[Prompt]]:
    """Map levels, up to the highest aimed at, to prompts of the final set, each at the lowest of its levels."""
    aimed = [
        one.target_levels
        for one in (entry.generation for entry in entries)
        if one.outcome is not GenerationOutcome.UNGATED
    ]
    highest, known = max(level for levels in aimed for level in levels), set[str]()
    if context.task.highest_level is not None:
        highest = min(highest, context.task.highest_level)
    found = {}
    for level in range(1, highest + 1):
        drawn = context.task.final(level, context.recipe.evaluation.final_prompts)
        fresh = [prompt for prompt in drawn if prompt.id not in known]
        known |= {prompt.id for prompt in fresh}
        if fresh:
            found[level] = fresh
    return found


def _answers(
    context: Context, entries: Sequence[Entry], number: int, by_level: dict[int, list[Prompt]], *, meter: Meter
) -> list[OutcomeRow]:
    """Return the outcomes of a generation's greedy answers, in the prompts' order."""
    checkpoint, rows = weights_of(context, entries, number), list[OutcomeRow]()
    context.samplers.hold(checkpoint)
    for done, (level, prompts) in enumerate(by_level.items()):
        context.observe(Event(generation=number, stage="final", done=done, total=len(by_level)))
        rollouts = generate(
            context,
            requests(prompts, prefix=HeldoutId(asking=Asking.FINAL, level=level), samples=1, seed=SEED),
            sampling(context, levels=[level], temperature=0.0),
            shape=context.samplers.shape(),
            meter=meter,
            phase="final",
            policy=checkpoint.fingerprint,
        )
        rows += outcomes(rollouts, judge(context, rollouts, prompts, meter=meter, verifier=context.eval_verifier))
    context.samplers.prove(checkpoint.fingerprint)
    context.observe(Event(generation=number, stage="final", done=len(by_level), total=len(by_level)))
    return unrepeated(rows)


def _share(right: Iterable[bool]) -> float:
    found = list(right)
    return sum(found) / len(found) if found else 0.0
