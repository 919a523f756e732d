"""A training step of the user's own."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bootstrap.config.base import Place, Placed
from bootstrap.config.distillation import Taught
from bootstrap.config.plugins import PluginSettings
from bootstrap.config.sampling_step import SamplingStep
from bootstrap.config.sources import Draw, DrawnSource, Levels
from bootstrap.config.step import Portion, Words
from bootstrap.errors import RecipeError
from bootstrap.plugins import USES, Kind


class PluginStep(PluginSettings, SamplingStep):
    """A step of the user's own: `step(groups, *, tools, **options)` chooses what each round trains on.

    A round draws prompts, samples a group of answers to each and has them judged. The function returns the weights of
    answers, and of references that it shows, for policy gradient (`rl`), cross-entropy (`ce`) and divergence to a
    teacher (`kl`); see `stages/plugin.py`. One optimizer update follows.
    """

    kind: ClassVar[Kind] = Kind(
        name="step",
        results="lessons",
        written="step(groups, *, tools, **options)",
        error=RecipeError,
        arguments=("groups",),
        keywords=("tools",),
    )
    trainer: ClassVar[str] = "bootstrap.stages.plugin:PluginTrainer"
    tells_rates: ClassVar[bool] = True
    pinned_by: ClassVar[Place] = ("uses",)
    rehearsed_by: ClassVar[str] = "bootstrap.stages.plugin:rehearse"
    type: Literal["plugin"] = "plugin"
    uses: str = Field(pattern=USES)
    """`module:function` of an importable module, or the name of an entry point in the group `bootstrap.steps`."""
    rounds: int = Field(default=60, ge=1)
    """Rounds: each calls the function once and makes one optimizer update."""
    levels: Levels = "targets"
    """Levels that prompts are drawn from."""
    draw: Draw = None
    """Order of prompts, as in an `rl` step."""
    prompts_per_update: int = Field(default=24, ge=0)
    """Prompts that a round draws, spread evenly over the levels. 0 samples nothing: the function shows references."""
    teaching: Taught | None = None
    """Teacher and divergence of the weight `kl`; null refuses such a weight."""

    @model_validator(mode="after")
    def _teacher_teaches_by_distribution(self) -> Self:
        if self.teaching is not None and self.teaching.loss == "ce":
            raise ValueError(
                "teaching with loss ce has no teacher; set teaching.loss: reverse_kl, or remove teaching and let the "
                "function give the weight ce"
            )
        return self

    @property
    def practises(self) -> Literal["drawn", "references"]:
        return "drawn" if self.prompts_per_update else "references"

    @property
    def shown_by(self) -> str:
        return self.uses

    @property
    def own_teaching(self) -> Taught | None:
        return self.teaching

    @property
    def num_prompts(self) -> int:
        return self.rounds * self.prompts_per_update

    @property
    def easier_variants(self) -> float:
        """None."""
        return 0.0

    @property
    def summary(self) -> str:
        return f"plugin ({self.uses}), {self.rounds} rounds of {self.prompts_per_update} x {self.group_size}"

    def data(self, words: Words) -> str:
        drawn = f"answers of {words.drawn}, {words.judged}, weighted by {self.uses}"
        return self.with_replay(drawn if self.prompts_per_update else f"references shown by {self.uses}", words)

    def portions(self, *, learned: float) -> tuple[Portion, ...]:
        # All answers, of which the function may leave some out; the references that it shows are its own choice.
        return self.with_replayed(learned, updates=self.rounds)

    def written_out(self, *, fixed: bool, epochs: bool) -> Self:
        draw = self.draw or ("epochs" if epochs else "random")
        return super().written_out(fixed=fixed, epochs=epochs).model_copy(update={"draw": draw})

    def draws(self) -> Placed[DrawnSource]:
        return (((), self),) if self.prompts_per_update else ()
