"""Diagnostics of one generation from its evaluation and its steps, as a stage that is never run twice.

Two things are done for them alone. Fixed prompts that the evaluation has not asked are answered, with the same
requests and seeds, so generation 0 needs none. On these answers the divergence from the parent and from generation 0 is
computed.

Left out: formulas (`evaluation/diagnostics.py`) and guards (`evaluation/guards.py`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from bootstrap.config.models import roles
from bootstrap.errors import RecipeError
from bootstrap.evaluation import diagnostics as metrics
from bootstrap.evaluation.guards import findings
from bootstrap.evaluation.report import OutcomeRow, outcomes
from bootstrap.ids import Asking, HeldoutId
from bootstrap.ledger_records import DiagnosticMetric, Diagnostics
from bootstrap.records import Checkpoint, Event, Example, Rollout, Use, Verdict
from bootstrap.scoring.given import given_answer
from bootstrap.scoring.verifier import score
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.encoding import Encoder
from bootstrap.stages.evaluate import SEED, Evaluation
from bootstrap.stages.generate import count_asked, generate, judge, requests, sampling, spread
from bootstrap.stages.heldout import eval_verifier_version, judge_again
from bootstrap.stages.judged_again import accuracy_jump
from bootstrap.stages.once import once
from bootstrap.stages.probe import explains_jump
from bootstrap.stages.shown import shown_by
from bootstrap.stages.step import StepResult
from bootstrap.stages.tables import Tables
from bootstrap.stages.weights import weights_of
from bootstrap.store.artifacts import Artifact
from bootstrap.store.ledger import Entry
from bootstrap.store.tables import from_parquet, to_parquet
from bootstrap.training.special_tokens import rules_kept

PHASE = "diagnostics"
ROLE = "diagnostics"
"""Role of this artifact in `Generation.artifacts`."""


def diagnose(
    context: Context,
    entries: Sequence[Entry],
    plan: Plan,
    results: Sequence[StepResult],
    checkpoint: Checkpoint,
    evaluation: Evaluation,
    *,
    meter: Meter,
) -> tuple[Diagnostics, Artifact]:
    """Return a generation's diagnostics with the broken guards, and their artifact.

    Raises VerifierError when too many answers to the fixed prompts cannot be judged.
    """
    recipe = context.recipe
    inputs = {
        **context.identity(),
        "fingerprint": checkpoint.fingerprint,
        "settings": recipe.diagnostics.model_dump(mode="json"),
        "evaluation": evaluation.artifact.id,
        "steps": [result.artifact.id for result in results],
        "parent": None if plan.init is None else entries[plan.init].hash,
        "base": entries[0].hash if entries else None,
        "verifier": context.verifier.version,
    }

    def measure(counts: Meter) -> dict[str, bytes]:
        diagnosis = _Diagnosis(context, entries, plan, checkpoint, evaluation, counts)
        diagnostics, rows = diagnosis.run([Tables.read(result.artifact) for result in results])
        return {
            "diagnostics.json": diagnostics.model_dump_json().encode(),
            "fixed.parquet": to_parquet(rows, OutcomeRow),
        }

    artifact = once(context, "diagnostics", inputs, measure, meter=meter)
    diagnostics = Diagnostics.model_validate(artifact.json("diagnostics.json"))
    broken = findings(diagnostics, recipe.all_guards, accuracy_jump=_jump(context, entries, plan, meter))
    return diagnostics.model_copy(update={"findings": broken}), artifact


def _jump(context: Context, entries: Sequence[Entry], plan: Plan, meter: Meter) -> float | None:
    """Return `accuracy_jump` where a guard watches it, None for one that the default bound takes for the verifier's."""
    guards, watched = context.recipe.all_guards, DiagnosticMetric.ACCURACY_JUMP
    if not any(guard.metric is watched for guard in guards):
        return None
    jump = accuracy_jump(context, entries, plan)
    if jump is None:
        return None
    meter.note("accuracy_jump", abs(jump))
    by_default = not any(guard.metric is watched for guard in context.recipe.guards)
    if by_default and findings(Diagnostics(), guards, accuracy_jump=jump):
        return None if explains_jump(context, jump, plan.number, meter=meter) else jump
    return jump


@dataclass
class _Diagnosis:
    """The diagnostics of one generation in the making."""

    context: Context
    entries: Sequence[Entry]
    plan: Plan
    checkpoint: Checkpoint
    evaluation: Evaluation
    counts: Meter

    def __post_init__(self) -> None:
        artifact = self.evaluation.artifact
        rollouts = from_parquet(artifact.read("samples.parquet"), Rollout)
        verdicts = from_parquet(artifact.read("verdicts.parquet"), Verdict)
        pairs = zip(rollouts, verdicts, strict=True)
        self.sampled = [(rollout, verdict) for rollout, verdict in pairs if _is_sampled(rollout.id)]

    def run(self, tables: Sequence[Tables]) -> tuple[Diagnostics, list[OutcomeRow]]:
        """Return the diagnostics without guards, and the outcomes of the fixed prompts, one row a sample."""
        self.context.observe(Event(generation=self.plan.number, stage="diagnose"))
        fixed = self._fixed()
        rows = outcomes([rollout for rollout, _ in fixed], [verdict for _, verdict in fixed])
        with self.counts.clock(PHASE):
            diagnostics = self._diagnostics(tables, rows, [rollout for rollout, _ in fixed])
        return diagnostics, rows

    def _diagnostics(
        self, tables: Sequence[Tables], rows: Sequence[OutcomeRow], fixed: Sequence[Rollout]
    ) -> Diagnostics:
        report, reach = self.evaluation.report, max(self.plan.target_levels)
        parent = None if self.plan.init is None else self.entries[self.plan.init].generation.report
        asked = [rollout for rollout, _ in self.sampled]
        uses: Counter[str] = Counter()
        for row in (row for table in tables for row in table.usage):
            uses[row.source] += row.count
        examples = [_shown(rollout) for rollout in fixed]
        kl_parent = self._divergence(examples, self.plan.init)
        return Diagnostics(
            entropy=metrics.mean_entropy(asked),
            distinct_answers=metrics.distinct_answers(
                asked, answer_of=partial(given_answer, settings=self.context.recipe.eval_verifier)
            ),
            pass_at_k_change=self._pass_at_k_change(rows),
            length_ratio=None if parent is None else metrics.length_ratio(report, parent, up_to=reach),
            truncated=metrics.truncated_share(report, up_to=reach),
            kl_parent=kl_parent,
            kl_base=kl_parent if self.plan.init == 0 else self._divergence(examples, 0),
            model_made=metrics.model_made(uses),
            disagreement=self._disagreement(asked, [verdict for _, verdict in self.sampled]),
            overlap=self._overlap(tables, uses),
        )

    def _fixed(self) -> list[tuple[Rollout, Verdict]]:
        """Return answers to the fixed prompts and their verdicts, the evaluation's own where it has them."""
        context, how = self.context, self.context.recipe.evaluation.sampled
        if how is None:
            return []
        known = {rollout.id: (rollout, verdict) for rollout, verdict in self.sampled}
        found = []
        levels = tuple(range(1, context.recipe.task.base_level + 1))
        for level, count in spread(context.recipe.diagnostics.prompts, levels, seed=None):
            prompts = self.context.heldout(level)[:count]
            wanted = requests(
                prompts, prefix=HeldoutId(asking=Asking.SAMPLED, level=level), samples=how.samples, seed=SEED
            )
            if missing := [request for request in wanted if request.id not in known]:
                context.samplers.hold(self.checkpoint)
                drawn = sampling(context, levels=[level], temperature=how.temperature, top_k=how.top_k, top_p=how.top_p)
                rollouts = generate(
                    context,
                    missing,
                    drawn,
                    shape=self.plan.shape,
                    meter=self.counts,
                    phase=PHASE,
                    policy=self.checkpoint.fingerprint,
                )
                verdicts = judge(context, rollouts, prompts, meter=self.counts, verifier=context.eval_verifier)
                known |= {pair[0].id: pair for pair in zip(rollouts, verdicts, strict=True)}
            found += [known[request.id] for request in wanted]
        if len(known) > len(self.sampled):
            context.samplers.prove(self.checkpoint.fingerprint)
        return found

    def _pass_at_k_change(self, rows: Sequence[OutcomeRow]) -> float | None:
        context, how = self.context, self.context.recipe.evaluation.sampled
        if how is None or not self.entries:
            return None
        first = self.entries[0].generation
        base = from_parquet(context.store.artifact(first.artifacts[ROLE]).read("fixed.parquet"), OutcomeRow)
        if eval_verifier_version(first.verifiers) != context.eval_verifier.version:
            base = judge_again(
                base,
                task=context.task,
                count=context.recipe.evaluation.most_prompts,
                eval_verifier=context.eval_verifier,
                max_unverifiable=context.recipe.max_unverifiable,
                shown=shown_by(context.store, first),
            )
        return metrics.pass_at_k_change(rows, base, k=how.k)

    def _divergence(self, examples: Sequence[Example], number: int | None) -> float | None:
        """Return the divergence from a generation in nats per token; None where their vocabularies differ."""
        context = self.context
        if number is None or not self.entries or not examples:
            return None
        other = weights_of(context, self.entries, number)
        if Encoder(other).tokenizer.get_vocab() != Encoder(self.checkpoint).tokenizer.get_vocab():
            return None
        context.learners.hold(self.checkpoint)
        try:
            found = context.learners.divergence(examples, to=other)
        except RecipeError:  # fewer outputs than the other one's tokens
            return None
        self.counts.count(PHASE, flops=found.flops, tokens=found.num_tokens)
        return found.per_token

    def _disagreement(self, rollouts: Sequence[Rollout], verdicts: Sequence[Verdict]) -> float | None:
        """Return how often training's verifier and the eval verifier differ on sampled held-out answers.

        Answers that one of them cannot judge are left out; None where the two are one, or training's lacks its models.
        """
        context, recipe = self.context, self.context.recipe
        lacks_models = roles(recipe.verifier_of(self.plan.number)) and not self.plan.asked
        if context.verifier is context.eval_verifier or lacks_models:
            return None
        references = {
            prompt.id: context.task.reference(prompt)
            for level in {rollout.level for rollout in rollouts}
            for prompt in self.context.heldout(level)
        }
        others = score(rollouts, references, verifier=context.verifier, max_unverifiable=1.0)
        self.counts.verdicts += len(others)
        count_asked(context, self.counts)
        return metrics.disagreement([verdict.status for verdict in others], [verdict.status for verdict in verdicts])

    def _overlap(self, tables: Sequence[Tables], uses: Iterable[str]) -> float | None:
        """Return the overlap of prompts trained on with held-out ones of the task and the panel.

        Trained on are prompts of answers that were used or join the replay pool, of shown references, and of replayed
        answers, a fork's inherited ones among them.
        """
        context = self.context
        kept = {
            selection.rollout_id
            for table in tables
            for selection in table.selections
            if selection.use is not Use.NONE or selection.replay
        }
        trained = {rollout.imitated_prompt for table in tables for rollout in table.rollouts if rollout.id in kept}
        trained |= {row.prompt for table in tables for row in table.shown}
        used, pool = set(uses), self.plan.pool
        trained |= {entry.prompt_text for entry in pool.given if entry.rollout_id in used}
        heldout = [prompt for row in self.evaluation.report.levels for prompt in self.context.heldout(row.level)]
        for watched in context.panel.values():
            for level in watched.settings.asked:
                heldout += watched.task.heldout(level, watched.settings.prompts_per_level)
        # Task and panel may share a text.
        apart = dict.fromkeys(prompt.text for prompt in heldout)
        return metrics.overlap(
            self._tokens(sorted(trained)), self._tokens(list(apart)), n=context.recipe.diagnostics.ngram
        )

    def _tokens(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Yield the tokens of each text; a portion of the texts is in memory at once."""
        tokenizer = Encoder(self.checkpoint).tokenizer
        for start in range(0, len(texts), metrics.AT_ONCE):
            portion = list(texts[start : start + metrics.AT_ONCE])
            with rules_kept():
                encoded = tokenizer.encode_batch(portion, add_special_tokens=False)
            yield from (found.ids for found in encoded)


def _shown(rollout: Rollout) -> Example:
    return Example(
        source=rollout.id, tokens=rollout.prompt_tokens + rollout.tokens, num_prompt_tokens=len(rollout.prompt_tokens)
    )


def _is_sampled(identity: str) -> bool:
    """Whether a rollout is a sampled answer to a held-out prompt."""
    heldout = HeldoutId.of_answer(identity)
    return heldout is not None and heldout.asking is Asking.SAMPLED
