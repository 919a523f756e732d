"""Judge stored answers again: which verdicts and promotions the present verifiers and gate would have given.

Each generation's held-out answers and training rollouts are judged again, and its decision is taken again, on the
recorded target levels, against the recorded champion, under the guards that it broke. Only replies of models that judge
are written, to the cache. Left out: what would have grown from another promotion, and diagnostics under another
verifier.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bootstrap.config.base import Place
from bootstrap.config.models import LineageModel
from bootstrap.config.recipe import Recipe
from bootstrap.errors import VerifierError
from bootstrap.evaluation.gate import Answers, ImprovementTest, decide, unrepeated
from bootstrap.evaluation.guards import apply_guards
from bootstrap.evaluation.report import OutcomeRow, rejudged
from bootstrap.ledger_records import Decision, Generation, GenerationOutcome, Report
from bootstrap.prompts.task import Task, own_level
from bootstrap.records import Finish, Prompt, Role, Rollout, Split, Status, Verdict
from bootstrap.scoring.verifier import Answer, Verifier, judge_within
from bootstrap.stages.bar import improvement_test, reached
from bootstrap.stages.context import Watched
from bootstrap.stages.gate import by_rule, further_role, levels_of_bar, suites
from bootstrap.stages.heldout import judge_again, judge_panel_again, panel_rows, slices_of
from bootstrap.stages.shown import ShownPrompts, shown_by
from bootstrap.stages.siblings import among_siblings, best_so_far
from bootstrap.stages.tables import Tables
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.tables import from_parquet

EVALUATION = "evaluation"
"""Role of this artifact in `Generation.artifacts`: a generation's own held-out answers."""


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """One generation, judged again."""

    number: int
    recorded: Mapping[str, str]
    """Verifier name -> version, as the ledger has it."""
    training: Mapping[str, int]
    """Number of changed verdicts on training rollouts, by `PASS -> FAIL` and the like."""
    num_training: int
    heldout: Mapping[str, int]
    """The same of greedy held-out answers, the panel's included."""
    num_heldout: int
    outcome: GenerationOutcome
    """As recorded, and so is `promoted`."""
    promoted: bool
    decision: Decision | None
    """The present one; None where nothing was compared: generation 0 and ungated ones."""

    @property
    def differs(self) -> bool:
        """Whether the gate would decide otherwise."""
        return self.decision is not None and self.decision.promoted is not self.promoted


class NoModels:
    """Stands for the lineage's generations, which are not loaded: a verifier that asks them opens and cannot judge."""

    def complete(self, prompts: Sequence[str], *, model: LineageModel, **_: Any) -> list[list[str]]:
        """Raise VerifierError."""
        raise VerifierError(
            f"this verifier asks {model} of the lineage, whose weights are not loaded to judge stored answers again; "
            "name a recipe whose held-out answers are judged without (evaluation.verifier)"
        )


class Rescorer:
    """The stored answers of one lineage under verifiers as they are now."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        store: LineageStore,
        task: Task,
        verifiers: Mapping[Place, Verifier],
        eval_verifier: Verifier,
        panel: Mapping[str, Watched],
    ) -> None:
        """`verifiers`: training's, by place; rollouts of those left out, which need models at work, are left out."""
        self._recipe, self._store, self._task = recipe, store, task
        self._verifiers, self._eval_verifier, self._panel = verifiers, eval_verifier, panel
        self._rows: dict[int, list[OutcomeRow]] = {}
        self._panel_rows: dict[int, list[OutcomeRow]] = {}
        self._decided: dict[int, Decision] = {}
        self._shown: dict[int, ShownPrompts] = {}

    def rescore(self, entries: Sequence[Entry]) -> list[Rescored]:
        """Return every generation judged again, in order. Raises VerifierError when too many cannot be judged."""
        return [self._rescore(entries, entry.generation) for entry in entries]

    def _rescore(self, entries: Sequence[Entry], generation: Generation) -> Rescored:
        self._shown[generation.number] = shown_by(self._store, generation)
        stored, own = self._judged(generation, EVALUATION, by=generation.number)
        watched, watched_again = self._judged_panel(generation)
        self._rows[generation.number], self._panel_rows[generation.number] = own, watched_again
        training, num_training = self._training(generation)
        return Rescored(
            number=generation.number,
            recorded=generation.verifiers,
            training=training,
            num_training=num_training,
            heldout=_changes(
                [_status(row) for row in (*stored, *watched)], [_status(row) for row in (*own, *watched_again)]
            ),
            num_heldout=len(own) + len(watched),
            outcome=generation.outcome,
            promoted=generation.decision.promoted,
            decision=self._decide(generation, [entry.generation for entry in entries]),
        )

    def _decide(self, generation: Generation, generations: Sequence[Generation]) -> Decision | None:
        """Return the gate's decision as it would be now, under the recorded diagnostics' guards."""
        recorded = generation.decision
        if recorded.champion is None or recorded.improvement is None:
            return None
        position, earlier = self._recipe.generations.position(generation.number), generations[: generation.number]
        champion, targets = recorded.champion, recorded.improvement.levels
        highest = self._task.highest_level
        kept = reached(
            self._recipe, earlier, champion=champion, highest=highest, report_of=lambda n: self._report(generations[n])
        )
        line = {
            number: Answers(rows=self._rows_of(number, generation, champion), panel=self._panel_rows[number])
            for number in levels_of_bar(kept, champion, targets)
        }
        branches, alpha = position.stage.branches, recorded.improvement.alpha
        if alpha is None:
            # A record without alpha was tested at the whole of it.
            test = ImprovementTest(alpha=self._recipe.gate.alpha, branches=branches)
        else:
            test = replace(improvement_test(self._recipe, earlier, position), alpha=alpha * branches)
        decision = decide(
            candidate=Answers(rows=self._rows[generation.number], panel=self._panel_rows[generation.number]),
            line=line,
            champion=champion,
            target_levels=targets,
            protected=kept,
            settings=self._recipe.gate,
            test=test,
            # Verifiers of other versions may have read other rows of a file.
            asked_alike=False,
            **suites(self._task, kept, targets, count=self._recipe.evaluation.most_prompts),
        )
        decision = self._decided[generation.number] = by_rule(decision, position.stage.gate)
        if (best := best_so_far(earlier, position)) is not None:
            best = best.model_copy(update={"decision": self._decided[best.number]})
        return apply_guards(among_siblings(decision, best=best), generation.diagnostics, earlier=earlier)[0]

    def _rows_of(self, number: int, generation: Generation, champion: int) -> list[OutcomeRow]:
        """Return a generation's outcomes in its own evaluation and in the further one for the gate of `generation`."""
        rows, role = self._rows[number], further_role(number, champion)
        if role not in generation.artifacts:
            return rows
        known = {row.prompt_id for row in rows}
        return [*rows, *(row for row in self._judged(generation, role, by=number)[1] if row.prompt_id not in known)]

    def _report(self, generation: Generation) -> Report:
        """Return a generation's report as the verifiers judge now."""
        count = self._recipe.evaluation.most_prompts
        slices = slices_of(self._task, [row.level for row in generation.report.levels], count=count)
        rows = unrepeated(self._rows[generation.number])
        return rejudged(generation.report, rows, panel=self._panel_rows[generation.number], slices=slices)

    def _judged(self, generation: Generation, role: str, *, by: int) -> tuple[list[OutcomeRow], list[OutcomeRow]]:
        """Return one evaluation's stored outcomes, and the same judged again; `by`: the answering generation."""
        artifact = self._store.artifact(generation.artifacts[role])
        rows = from_parquet(artifact.read("outcomes.parquet"), OutcomeRow)
        again = judge_again(
            # An earlier version may have asked the last level again as levels past it.
            [replace(row, level=own_level(self._task, row.level)) for row in rows],
            task=self._task,
            count=self._recipe.evaluation.most_prompts,
            eval_verifier=self._eval_verifier,
            max_unverifiable=self._recipe.max_unverifiable,
            shown=self._shown[by],
        )
        asked = {(row.level, row.prompt_id) for row in again}
        kept = [row for row in rows if (own_level(self._task, row.level), row.prompt_id) in asked]
        return kept, [replace(row, level=recorded.level) for row, recorded in zip(again, kept, strict=True)]

    def _judged_panel(self, generation: Generation) -> tuple[list[OutcomeRow], list[OutcomeRow]]:
        """Return the panel's stored outcomes, and the same judged again."""
        rows, shown = panel_rows(self._store.artifact(generation.artifacts[EVALUATION])), self._shown[generation.number]
        again = [
            row
            for name, watched in self._panel.items()
            for row in judge_panel_again(
                [row for row in rows if row.task == name],
                watched,
                max_unverifiable=self._recipe.max_unverifiable,
                shown=shown,
            )
        ]
        # Rows that the verifier cannot use are left out of both.
        asked = {(row.task, row.prompt_id) for row in again}
        return [row for row in rows if (row.task, row.prompt_id) in asked], again

    def _training(self, generation: Generation) -> tuple[dict[str, int], int]:
        """Return the changed verdicts on training rollouts, and the number of rollouts."""
        verifier = self._verifiers.get(self._recipe.verifier_place(generation.number))
        if verifier is None:
            return {}, 0
        old: list[Verdict] = []
        rollouts: list[Rollout] = []
        for ref in generation.steps.values():
            tables = Tables.read(self._store.artifact(ref))
            # A proposal's verdict follows from its solutions, so no verifier of answers can judge it.
            solved = {rollout.id for rollout in tables.rollouts if rollout.role is Role.SOLVE}
            rollouts += [rollout for rollout in tables.rollouts if rollout.id in solved]
            old += [verdict for verdict in tables.verdicts if verdict.rollout_id in solved]
        shown = self._shown[generation.number]
        answers = [
            Answer(
                prompt=rollout.prompt_text,
                text=rollout.text,
                reference=self._task.reference(self._prompt(rollout)),
                truncated=rollout.finish is Finish.LENGTH,
                num_tokens=len(rollout.tokens),
                group=rollout.group,
                task=rollout.task,
                whole=shown.is_whole(rollout.text, prompt=rollout.prompt_text),
            )
            for rollout in rollouts
        ]
        judgements = judge_within(verifier, answers, max_unverifiable=self._recipe.max_unverifiable)
        return _changes([verdict.status for verdict in old], [judgement.status for judgement in judgements]), len(old)

    def _prompt(self, rollout: Rollout) -> Prompt:
        return Prompt(
            id=rollout.prompt_id,
            task=rollout.task,
            level=rollout.level,
            text=rollout.prompt_text,
            split=Split.TRAIN,
            key=rollout.prompt_key,
        )


def _status(row: OutcomeRow) -> Status:
    return Status.UNVERIFIABLE if row.correct is None else Status.PASS if row.correct else Status.FAIL


def _changes(old: Sequence[Status], new: Sequence[Status]) -> dict[str, int]:
    pairs = Counter((before, after) for before, after in zip(old, new, strict=True) if before is not after)
    return {f"{before} -> {after}": count for (before, after), count in sorted(pairs.items())}
