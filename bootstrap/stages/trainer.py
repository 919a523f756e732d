"""A trainer makes the batches of one step's rounds: `supervised.py`, `reinforcement.py`, `self_play.py`, `plugin.py`.

Left out: parts, checkpoints and the updates themselves (`step.py`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from bootstrap.config.step import StepSettings
from bootstrap.records import Batch
from bootstrap.seeds import derive_seed
from bootstrap.stages.context import Context, Meter, Plan
from bootstrap.stages.encoding import Encoder
from bootstrap.stages.tables import Tables


@dataclass(frozen=True, kw_only=True)
class Round:
    """The batches of one round, one an update, and means over its rollouts; None where there is nothing to average."""

    batches: Sequence[Batch]
    reward: float | None = None
    informative_groups: float | None = None
    entropy: float | None = None
    length: float | None = None
    mismatch: float | None = None
    logprob_difference: float = 0.0
    """Largest mean over a rollout's tokens, where log-probabilities were recomputed; 0 elsewhere."""
    recomputed: frozenset[str] = frozenset()
    """Ids of these rollouts."""
    common_fault: str = ""
    """The one reason for which all answers failed, if it is more than being wrong."""


S = TypeVar("S", bound=StepSettings)


class Trainer(ABC, Generic[S]):
    """Makes the batches of one step's rounds."""

    samples: bool
    """Whether a round samples from the weights that the round before has trained."""
    updates_per_round: int = 1
    ended: str = ""
    """Why the step is over before its last round; empty while it is not."""

    def __init__(self, context: Context, plan: Plan, step: S, *, index: int) -> None:
        """`index`: the step's place in its generation."""
        self.context, self.plan, self.step, self.index = context, plan, step, index
        self.encoder = Encoder(plan.start)

    def seed(self, *names: str | int) -> int:
        """Return the seed of a draw in this step."""
        return derive_seed(self.context.recipe.seed, "step", self.plan.number, self.index, *names)

    @abstractmethod
    def drawn(self, tables: Tables) -> int:
        """Return the prompts that the whole step drew, by its settings and its findings, for the accounting."""

    def prepare(self, tables: Tables, meter: Meter) -> None:
        """Draw what all rounds share, into `tables`; called once, before the first round."""
        return None

    def resume(self, tables: Tables) -> None:
        """Take up what `prepare` and the rounds done so far left in `tables`; called once, before the next round."""
        return None

    @abstractmethod
    def round(self, number: int, tables: Tables, meter: Meter) -> Round:
        """Return round `number`; its draws depend on its number, the weights and earlier rounds."""
