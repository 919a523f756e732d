"""Collapse guards: how a generation's diagnostics are measured, which bounds it has to keep, and what happens where
not.

The metrics are those of `ledger_records.Diagnostics`; failures that they show and published cures are tabled in the
papers named beside the defaults. Left out: the gate's own conditions (`evaluation.py`).
"""

from pydantic import Field, model_validator

from bootstrap.config.base import Settings
from bootstrap.ledger_records import DiagnosticMetric, GuardAction

SAMPLED = frozenset(
    {
        DiagnosticMetric.ENTROPY,
        DiagnosticMetric.DISTINCT_ANSWERS,
        DiagnosticMetric.PASS_AT_K_CHANGE,
        DiagnosticMetric.KL_PARENT,
        DiagnosticMetric.KL_BASE,
        DiagnosticMetric.DISAGREEMENT,
    }
)
"""Metrics of sampled held-out answers."""
ON_FIXED_PROMPTS = frozenset({DiagnosticMetric.PASS_AT_K_CHANGE, DiagnosticMetric.KL_PARENT, DiagnosticMetric.KL_BASE})
RANGES: dict[DiagnosticMetric, tuple[float, float | None]] = {
    DiagnosticMetric.ENTROPY: (0, None),
    DiagnosticMetric.DISTINCT_ANSWERS: (1, None),
    DiagnosticMetric.PASS_AT_K_CHANGE: (-1, 1),
    DiagnosticMetric.LENGTH_RATIO: (0, None),
    DiagnosticMetric.TRUNCATED: (0, 1),
    DiagnosticMetric.KL_PARENT: (0, None),
    DiagnosticMetric.KL_BASE: (0, None),
    DiagnosticMetric.MODEL_MADE: (0, 1),
    DiagnosticMetric.DISAGREEMENT: (0, 1),
    DiagnosticMetric.OVERLAP: (0, 1),
}
"""Least and greatest value that a metric can have; None for no limit."""


class DiagnosticsSettings(Settings):
    """How a generation's diagnostics are measured."""

    prompts: int = Field(default=32, ge=0)
    """Held-out prompts of the base levels, spread evenly and the same in every generation, that each one answers as
    `evaluation.sampled` says: for pass@k against generation 0 and for the divergence from parent and generation 0.
    0 leaves these three out."""
    ngram: int = Field(default=10, ge=1)
    """Tokens of the n-grams whose occurrence in trained and held-out prompts is compared. Tokens, because they are what
    the model reads: characters for a model from scratch, words and pieces of them for a pretrained one, where ten
    characters would make overlaps of every second common word."""


class Guard(Settings):
    """A bound on one metric of a generation's diagnostics."""

    metric: DiagnosticMetric
    """`entropy` (nats a sampled token), `distinct_answers` (of the samples of a prompt), `pass_at_k_change` (against
    generation 0), `length_ratio` (to the parent), `truncated` (share), `kl_parent` and `kl_base` (nats a token),
    `model_made` (share of what was trained on), `disagreement` (share of answers on which training's and held-out
    verifier differ), `overlap` (share of trained prompts, those of references and replayed answers included, with an
    n-gram of one that is held out for the task or the panel)."""
    min: float | None = None
    """Least value within bounds."""
    max: float | None = None
    """Greatest value within bounds."""
    action: GuardAction = GuardAction.WARN
    """`warn` says so; `reject` keeps the candidate from becoming champion, whatever the gate says, though a stage that
    names it (`init: previous`, a number) goes on from it; `stop` rejects it
    and ends the run, which goes on only with `--past-guards`; `roll_back` rejects it and returns the champion to the
    last one that broke no guard, warnings included. Generation 0 has nothing to fall back on: it warns, or stops. One
    that is left ungated (`gate: never`) leaves the champion where it is. Nobody replays the answers of a generation
    that is rejected here, nor of those that a roll-back leaves behind."""

    @model_validator(mode="after")
    def _can_be_broken(self) -> "Guard":
        if self.min is None and self.max is None:
            raise ValueError(f"a guard on {self.metric} without a bound watches nothing; give min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"no {self.metric} is within min {self.min:g} and max {self.max:g}; swap them")
        least, greatest = RANGES[self.metric]
        if self.min is not None and self.min <= least:
            raise ValueError(f"{self.metric} is never below {least:g}, so min {self.min:g} cannot be broken; raise it")
        if self.max is not None and greatest is not None and self.max >= greatest:
            raise ValueError(
                f"{self.metric} is never above {greatest:g}, so max {self.max:g} cannot be broken; lower it"
            )
        return self


DEFAULT_GUARDS = (
    # Entropy spent is reward no longer to be had (arXiv:2505.22617).
    Guard(metric=DiagnosticMetric.ENTROPY, min=0.001),
    # Training can raise pass@1 and lose what the base could do in several tries (arXiv:2504.13837).
    Guard(metric=DiagnosticMetric.PASS_AT_K_CHANGE, min=-0.05),
    Guard(metric=DiagnosticMetric.LENGTH_RATIO, min=0.5, max=2.0),
    # ScaleRL's warning level (arXiv:2510.13786).
    Guard(metric=DiagnosticMetric.TRUNCATED, max=0.1),
    Guard(metric=DiagnosticMetric.KL_PARENT, max=0.5),
    Guard(metric=DiagnosticMetric.KL_BASE, max=2.0),
    # Models of their own output alone lose the tails; a tenth of real data holds most of them (arXiv:2305.17493).
    Guard(metric=DiagnosticMetric.MODEL_MADE, max=0.99),
    # Rule verifiers miss 14 % of right answers (arXiv:2505.22203).
    Guard(metric=DiagnosticMetric.DISAGREEMENT, max=0.15),
    # Prompts of few different characters share n-grams by chance: up to 3 in 1,000 of pipelines/self-play.yaml's.
    Guard(metric=DiagnosticMetric.OVERLAP, max=0.01),
)
"""Warnings alone: no decision depends on them. `distinct_answers` has none, because the better a task with one right
answer is mastered, the fewer distinct ones there are."""
