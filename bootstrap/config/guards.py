"""Guards against collapse: how a generation's diagnostics are measured, their bounds, and what a breach causes.

The metrics are those of `ledger_records.Diagnostics`; the papers named beside the defaults tell the failures that they
show. Left out: the gate's own conditions (`evaluation.py`).
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
    DiagnosticMetric.ACCURACY_JUMP: (-1, 1),
}
"""Least and greatest value that a metric can have; None for no limit."""


class DiagnosticsSettings(Settings):
    """How a generation's diagnostics are measured."""

    prompts: int = Field(default=32, ge=0)
    """Fixed held-out prompts of the base levels, spread evenly, that every generation answers as `evaluation.sampled`
    says: for pass@k against generation 0, and for the divergence from parent and generation 0. 0 leaves these three
    metrics out."""
    ngram: int = Field(default=10, ge=1)
    """Length in tokens of the n-grams that trained and held-out prompts are compared by. A token is a character for a
    model from scratch and a word or part of one for a pretrained model, where ten characters would overlap at many
    common words."""


class Guard(Settings):
    """A bound on one diagnostic of a generation."""

    metric: DiagnosticMetric
    """`entropy` (nats a sampled token), `distinct_answers` (among the samples of a prompt), `pass_at_k_change` (against
    generation 0), `length_ratio` (to the parent), `truncated` (share), `kl_parent` and `kl_base` (nats a token),
    `model_made` (share of the training data), `disagreement` (share of answers on which training and eval verifier
    differ), `overlap` (share of trained prompts, those of references and replayed answers included, that share an
    n-gram with a held-out prompt of the task or the panel), `accuracy_jump` (rise of the parent's accuracy when its
    stored held-out answers are judged again: no training explains it)."""
    min: float | None = None
    """Least value within bounds."""
    max: float | None = None
    """Greatest value within bounds."""
    action: GuardAction = GuardAction.WARN
    """What a breach causes.

    `warn`: a warning. `reject`: the candidate does not become champion, whatever the gate says; a stage that names it
    (`init: previous`, a number) still starts from it. `stop`: rejection, and the end of the run, which goes on only
    with `--past-guards`. `roll_back`: rejection, and the champion returns to the last one that broke no guard, warnings
    included. Generation 0 warns or stops, since nothing came before it. An ungated generation (`gate: never`) leaves
    the champion in place. The answers of a generation that is rejected here, and of those that a roll-back leaves
    behind, are never replayed.
    """

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
    # Without entropy reward stops rising (arXiv:2505.22617).
    Guard(metric=DiagnosticMetric.ENTROPY, min=0.001),
    # Training can raise pass@1 and lower pass@k below the base's (arXiv:2504.13837).
    Guard(metric=DiagnosticMetric.PASS_AT_K_CHANGE, min=-0.05),
    Guard(metric=DiagnosticMetric.LENGTH_RATIO, min=0.5, max=2.0),
    # ScaleRL's warning level (arXiv:2510.13786).
    Guard(metric=DiagnosticMetric.TRUNCATED, max=0.1),
    Guard(metric=DiagnosticMetric.KL_PARENT, max=0.5),
    Guard(metric=DiagnosticMetric.KL_BASE, max=2.0),
    # Models trained on their own output alone lose the tails; a tenth of real data keeps most (arXiv:2305.17493).
    Guard(metric=DiagnosticMetric.MODEL_MADE, max=0.99),
    # Rule verifiers miss 14 % of right answers (arXiv:2505.22203).
    Guard(metric=DiagnosticMetric.DISAGREEMENT, max=0.15),
    # Prompts of few different characters share n-grams by chance: up to 3 in 1,000 of pipelines/self-play.yaml's.
    Guard(metric=DiagnosticMetric.OVERLAP, max=0.01),
)
"""Warnings alone, so no decision depends on them. `distinct_answers` has none, since it falls as a task with one right
answer is mastered."""

LATER_GUARDS = (
    # A verdict is a function of the answer, so stored answers keep theirs; 0.02 is a few of those judged again. A
    # verifier that may err is asked first how often it does (`stages/probe.py`).
    Guard(metric=DiagnosticMetric.ACCURACY_JUMP, min=-0.02, max=0.02),
)
"""Warnings that every recipe with guards has beside its own list, unless that names the metric; lineages that lack them
keep their identity."""
