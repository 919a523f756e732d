"""The step `self_play`: one model puts problems and solves them."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from bootstrap.config.algorithms import PolicyGradient, RoleRelative
from bootstrap.config.base import Placed
from bootstrap.config.distillation import Distillation, Taught
from bootstrap.config.models import Reference
from bootstrap.config.step import (
    Portion,
    RoundSettings,
    Words,
    check_refresh,
    held_to,
    of_policy,
    with_replay,
)


class SelfPlayStep(RoundSettings):
    """Self-play (Absolute Zero, arXiv:2505.03335): one model puts problems and solves them, and learns from both.

    Each round the model is asked for problems. The task's executor keeps those that are problems, belong to the train
    split, are of bounded size and not among the recent ones; the model answers each several times, and the verifier
    judges the answers. Both roles then share one policy-gradient update, beside distillation on replayed sequences.
    """

    trainer: ClassVar[str] = "bootstrap.stages.self_play:SelfPlayTrainer"
    type: Literal["self_play"] = "self_play"
    rounds: int = Field(default=60, ge=1)
    """Rounds of proposing and solving, each followed by the algorithm's inner epochs of optimizer updates."""
    proposals: int = Field(default=32, ge=2)
    """Problems that the model is asked for in each round."""
    group_size: int = Field(default=8, ge=2)
    """Solutions of each problem; their share of right ones is its solve rate."""
    temperature: float = Field(default=1.0, gt=0)
    """Of both roles."""
    proposer_reward: Literal["learnability", "valid", "none"] = "learnability"
    """What a kept problem earns. `learnability`: 1 - solve rate, but 0 where all or none of the solutions are right.
    `valid`: 1 (a control). `none`: the proposer is not trained (a control). What is no problem, too large or repeated
    earns 0, never less: punishing it makes the proposer fall silent."""
    proposer_weight: float = Field(default=1.0, gt=0)
    """Factor of the proposer's loss beside the solver's; each is normalised by its own tokens."""
    window: int = Field(default=2000, ge=1)
    """Kept problems in which a proposal must not occur again; those of the step's earlier rounds and of its own."""
    reach: int = Field(default=3, ge=0)
    """Levels beyond the highest one aimed at that a proposal may have; larger ones are not solved and earn 0."""
    algorithm: RoleRelative = RoleRelative()
    distillation: Distillation | None = Distillation()
    """null trains by policy gradient alone (a control: old levels erode)."""

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
        check_refresh(self.algorithm.kl, self.rounds)
        if self.proposer_reward == "none" and self.proposer_weight != 1.0:
            raise ValueError(
                "proposer_weight has no effect where the proposer is not trained; remove it, or set "
                "proposer_reward: learnability"
            )
        return self

    def taught(self) -> Placed[Taught]:
        """Return the settings by which teachers teach in it."""
        return ((("distillation",), self.distillation),) if self.distillation is not None else ()

    @property
    def policy_gradient(self) -> PolicyGradient:
        """`algorithm`."""
        return self.algorithm

    @property
    def anchor(self) -> Distillation | None:
        """`distillation`."""
        return self.distillation

    @property
    def num_prompts(self) -> int:
        """The problems of all rounds, if every proposal is kept."""
        return self.rounds * self.proposals

    @property
    def samples_per_prompt(self) -> int:
        """`group_size`."""
        return self.group_size

    @property
    def leaves_out_equal_rewards(self) -> bool:
        """Whether solutions of one problem are compared with one another."""
        return self.algorithm.compares == "group"

    @property
    def pays_for_anything(self) -> bool:
        """Whether `proposer_reward` is not what can be learnt."""
        return self.proposer_reward != "learnability"

    @property
    def summary(self) -> str:
        """Its rounds."""
        return f"self_play, {self.rounds} rounds of {self.proposals} problems x {self.group_size}"

    def data(self, words: Words) -> str:
        """Return what it solves, and what is replayed beside."""
        own = f"solutions of its own problems up to level {words.highest + self.reach}, {words.judged}"
        return with_replay(own, self.distillation, words)

    def portions(self, *, learned: float) -> tuple[Portion, ...]:
        """Return its own solutions, and what is replayed beside them."""
        return of_policy(self.algorithm, self.distillation, rounds=self.rounds, learned=learned)

    @property
    def proposal_reach(self) -> int:
        """`reach`."""
        return self.reach

    def references(self) -> Placed[Reference]:
        """Return the model of the KL term, unless it is the weights that the step starts from."""
        return held_to(self.algorithm.kl)
