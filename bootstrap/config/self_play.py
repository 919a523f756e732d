"""The step `self_play`: one model proposes problems and solves them."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from bootstrap.config.algorithms import RoleRelative
from bootstrap.config.sampling_step import PolicyStep
from bootstrap.config.step import Words


class SelfPlayStep(PolicyStep):
    """Self-play (Absolute Zero, arXiv:2505.03335): one model proposes problems and solves them, and learns from both.

    Each round the model proposes problems. The task's executor keeps valid ones of the train split that are small
    enough and not recent. The model answers each several times, and the verifier judges the answers. Both roles share
    one policy-gradient update, beside distillation on replayed sequences.
    """

    trainer: ClassVar[str] = "bootstrap.stages.self_play:SelfPlayTrainer"
    type: Literal["self_play"] = "self_play"
    rounds: int = Field(default=60, ge=1)
    """Rounds: each proposes and solves, then makes `algorithm.inner_epochs` optimizer updates."""
    proposals: int = Field(default=32, ge=2)
    """Problems that the model proposes in each round."""
    group_size: int = Field(default=8, ge=2)
    """Solutions of each problem; the share that is right is its solve rate."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature of both roles."""
    proposer_reward: Literal["learnability", "valid", "none"] = "learnability"
    """Reward of a kept problem. `learnability`: 1 - solve rate, but 0 where all or none of the solutions are right.
    `valid`: 1 (a control). `none`: the proposer is not trained (a control). An invalid, too large or repeated proposal
    earns 0 and never less, since a penalty makes the proposer fall silent."""
    proposer_weight: float = Field(default=1.0, gt=0)
    """Factor of the proposer's loss beside the solver's; each is a mean over its own tokens."""
    window: int = Field(default=2000, ge=1)
    """Number of recent problems that a proposal must not repeat: those kept in this step, the same round's included."""
    reach: int = Field(default=3, ge=0)
    """Levels above the generation's highest aim that a proposal may have; larger ones are not solved and earn 0."""
    algorithm: RoleRelative = RoleRelative()  # pyright: ignore[reportIncompatibleVariableOverride]  # settings are frozen
    """Advantages and policy loss of both roles."""

    @model_validator(mode="after")
    def _settings_act(self) -> "SelfPlayStep":
        if self.algorithm.recomputes_logprobs:
            raise ValueError(
                "self_play learns from what it has just sampled and reads nothing again; remove correction"
            )
        if self.algorithm.mini_batches > 1:
            raise ValueError(
                "self_play learns from both roles of a round in one update; remove mini_batches, or set inner_epochs"
            )
        if self.proposer_reward == "none" and self.proposer_weight != 1.0:
            raise ValueError(
                "proposer_weight has no effect where the proposer is not trained; remove it, or set "
                "proposer_reward: learnability"
            )
        return self

    @property
    def num_prompts(self) -> int:
        """Problems of all rounds, if every proposal is kept."""
        return self.rounds * self.proposals

    @property
    def leaves_out_equal_rewards(self) -> bool:
        return self.algorithm.compares == "group"

    @property
    def pays_for_anything(self) -> bool:
        return self.proposer_reward != "learnability"

    @property
    def summary(self) -> str:
        return f"self_play, {self.rounds} rounds of {self.proposals} problems x {self.group_size}"

    def data(self, words: Words) -> str:
        own = f"solutions of its own problems up to level {words.highest + self.reach}, {words.judged}"
        return self.with_replay(own, words)

    @property
    def proposal_reach(self) -> int:
        return self.reach
