"""Training steps inside a generation: `sft`, `distill`, `rl`, and what they share."""

import math
from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from bootstrap.config.algorithms import (
    Algorithm,
    GroupRelative,
    Grpo,
    PassAtK,
    Ppo,
    ReferenceKl,
    ReinforcePlusPlus,
    RoleRelative,
    Unrewarded,
    ValueHead,
)
from bootstrap.config.base import Operational, Place, Settings
from bootstrap.config.models import EndpointTeacher, LineageModel, Model, Reference, Sampler, Teacher
from bootstrap.config.working import Forms

_Name = TypeVar("_Name")
Beta = Annotated[float, Field(ge=0, lt=1)]
Placed = tuple[tuple[Place, _Name], ...]
"""(Place, name) of models that settings name."""


class MuonAdamW(Settings):
    """Muon for the blocks' matrices, AdamW for everything else (embeddings, head, norms)."""

    type: Literal["muon_adamw"] = "muon_adamw"
    muon_lr: float = Field(default=0.004, gt=0)
    adamw_lr: float = Field(default=0.0004, gt=0)
    momentum: float = Field(default=0.95, ge=0, lt=1)
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    weight_decay: float = Field(default=0.0, ge=0)


class AdamW(Settings):
    """AdamW for all parameters."""

    type: Literal["adamw"] = "adamw"
    lr: float = Field(default=0.0004, gt=0)
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    weight_decay: float = Field(default=0.0, ge=0)


Optimizer = Annotated[MuonAdamW | AdamW, Field(discriminator="type")]


class Schedule(Settings):
    """Learning-rate factor over a step's updates: linear warm-up, flat, linear decay to `final`."""

    warmup: float = Field(default=0.0, ge=0, le=1)
    """Share of the updates."""
    decay: float = Field(default=1.0, ge=0, le=1)
    """Share of the updates, at the end."""
    final: float = Field(default=0.05, ge=0, le=1)
    """Factor that the decay leads to; it would be reached one update after the last."""

    @model_validator(mode="after")
    def _fits(self) -> "Schedule":
        if self.warmup + self.decay > 1:
            raise ValueError(
                f"warmup {self.warmup} and decay {self.decay} overlap; let them sum to 1 or less, "
                f"for example decay: {1 - self.warmup:g}"
            )
        return self


class StepBase(Settings):
    """Which models a step names, each with its place below the step: none, where a step does not say otherwise."""

    def teachers(self) -> Placed[Teacher]:
        """Return everyone who teaches in it."""
        return ()

    def references(self) -> Placed[Reference]:
        """Return what it is held to, other than the weights that it starts from."""
        return ()

    def samplers(self) -> Placed[Sampler]:
        """Return who answers in place of the weights that the step starts from."""
        return ()

    def merged(self) -> Placed[LineageModel]:
        """Return whose weights it makes into one model's."""
        return ()

    def named(self) -> Placed[Model]:
        """Return all of them."""
        return (*self.samplers(), *self.teachers(), *self.references(), *self.merged())


class StepSettings(StepBase):
    updates: int = Field(ge=1)
    """Optimizer updates in this step."""
    optimizer: Optimizer = MuonAdamW()
    schedule: Schedule = Schedule()
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest global L2 norm of the gradient."""
    checkpoint_every: Annotated[int, Operational()] = Field(default=20, ge=1)
    """Updates between checkpoints inside the step; a killed run repeats at most this many."""

    @property
    def critic(self) -> ValueHead | None:
        """The value function that is trained beside the policy; None where there is none."""
        return None


class References(Settings):
    """The task's own reference answers, for levels up to its `base_level` and no further."""

    type: Literal["references"] = "references"
    forms: Forms | None = None
    """How task `working` writes them in this step; null as the task says (`task.forms`)."""
    proposals: float = Field(default=0.0, ge=0, lt=1)
    """Share of each batch that shows how a problem is put instead of how it is answered: what `self_play` needs."""


Levels = Literal["targets", "reached", "all"]
"""Levels that prompts are drawn from: those the generation aims at, all below its first target, or both."""


class Replay(Settings):
    """Which sequences of the lineage are trained on again, so that what they show is not forgotten."""

    data: Literal["accumulate", "latest", "references"] = "accumulate"
    """What is replayed: everything verified so far, only the parent generation's, or base references alone."""
    decay: float = Field(default=1.0, gt=0, le=1)
    """Factor by which the chance of an answer to be replayed falls with every generation of its age; 1 keeps all alike.
    Of several answers to a prompt the first is kept, with its age. Base references do not age, so with a small factor
    they and the newest answers are most of what is replayed."""
    min_reference_share: float = Field(default=0.0, ge=0, le=1)
    """Least share of base references in each replayed batch: seed data that no generation has made. Levels beyond the
    base grow in number, so without a floor the share of references falls as the lineage climbs (arXiv:2305.17493)."""

    @model_validator(mode="after")
    def _replay_can_act(self) -> "Replay":
        if self.decay < 1 and self.data != "accumulate":
            raise ValueError(
                f"decay has no effect with data {self.data}, which has no answers of different ages; remove decay, or "
                "set data: accumulate"
            )
        if self.min_reference_share and self.data == "references":
            raise ValueError(
                "min_reference_share has no effect with data references, where all is reference; remove it, or set "
                "data: accumulate"
            )
        return self


class Rejection(Settings):
    """Rejection sampling: a model's answers, kept when the filter lets them pass, and imitated."""

    type: Literal["rejection"] = "rejection"
    sampler: Sampler = "start"
    """Who answers: `start`, the weights that the step starts from; another generation, so that data and weights may
    have different parents (R1's third stage, ReST-EM) or the student imitates its teacher (sequence-level
    distillation, arXiv:1606.07947); or a model outside the lineage: a folder, or a server of which only the text is
    known."""
    levels: Levels = "targets"
    prompts: int = Field(default=2000, ge=1)
    """Prompts drawn on these levels, spread evenly."""
    samples_per_prompt: int = Field(default=1, ge=1)
    max_accepted_per_prompt: int = Field(default=1, ge=1)
    """Cap on accepted samples of one prompt, so that easy prompts do not crowd out hard ones (arXiv:2312.06585)."""
    temperature: float = Field(default=1.0, ge=0)
    top_k: int = Field(default=0, ge=0)
    """Sample among the k likeliest tokens; 0 among all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample among the fewest tokens that together have this probability; 1 among all."""
    filter: Literal["verified", "none"] = "verified"
    """`none` keeps every answer, right or wrong: the control without a verifier."""
    stepping_stones: float = Field(default=0.0, ge=0, le=1)
    """Share of easier variants of the target level among the prompts (addition: one operand shorter)."""
    hints: Literal["never", "base", "references"] = "never"
    """Whether prompts whose answers were all wrong are asked again with the right answer as a hint (STaR,
    arXiv:2203.14465); what is right then is imitated without the hint. `base`: on levels up to the task's `base_level`.
    `references`: on all levels, so that training sees references of those prompts, and beyond `base_level` not only the
    verifier speaks."""
    newest_share: float = Field(default=0.5, gt=0, le=1)
    """Share of each batch taken from these answers; the rest replays earlier levels."""
    replay: Replay = Replay()
    """What is replayed beside them. `data: latest` is the control that replaces data instead of accumulating it."""

    @model_validator(mode="after")
    def _can_differ(self) -> "Rejection":
        if self.samples_per_prompt > 1 and self.temperature == 0:
            raise ValueError(
                "several greedy samples of one prompt are all alike; set samples_per_prompt: 1 or temperature above 0"
            )
        if isinstance(self.sampler, EndpointTeacher) and self.top_k:
            raise ValueError("a server's interface knows no top_k; remove it")
        if self.hints != "never" and self.filter == "none":
            raise ValueError(
                "filter none takes wrong answers too, so nothing is asked again; remove hints, or set filter: verified"
            )
        if self.hints == "base" and self.levels == "targets":
            raise ValueError(
                "target levels lie beyond base_level, where hints: base gives none; set levels: reached or all, or "
                "hints: references"
            )
        if self.newest_share == 1 and self.replay != Replay():
            raise ValueError(
                "replay never acts beside newest_share 1, which takes whole batches from the newest answers; remove "
                "replay, or lower newest_share, for example to 0.5"
            )
        if self.max_accepted_per_prompt > self.samples_per_prompt:
            raise ValueError(
                f"max_accepted_per_prompt {self.max_accepted_per_prompt} never acts on {self.samples_per_prompt} "
                f"sample(s) of a prompt; use {self.samples_per_prompt} or less, or raise samples_per_prompt"
            )
        return self


SftSource = Annotated[References | Rejection, Field(discriminator="type")]


class SftStep(StepSettings):
    """Supervised fine-tuning: cross-entropy on references, or on the generation's own accepted answers plus replay."""

    type: Literal["sft"] = "sft"
    source: SftSource = References()
    batch_size: int = Field(default=192, ge=1)
    """Sequences in one update."""

    def samplers(self) -> Placed[Sampler]:
        """Return who answers in place of the weights that the step starts from."""
        if isinstance(self.source, Rejection) and self.source.sampler != "start":
            return ((("source", "sampler"), self.source.sampler),)
        return ()


class TeacherRoute(Settings):
    """Where another teacher teaches: from a level on, on one part of a mixture (MOPD, arXiv:2601.02780), or both."""

    from_level: int = Field(default=1, ge=1)
    task: str | None = None
    """The part's name; null is every part that no other route of this level names."""
    teacher: Teacher

    @model_validator(mode="after")
    def _leads_somewhere_else(self) -> "TeacherRoute":
        if self.task is None and self.from_level == 1:
            raise ValueError("the route is for every example, as teacher is; set from_level or task, or set teacher")
        return self


class Taught(Settings):
    """Who gives the distribution that the student learns, and which distance between the two is made smaller."""

    loss: Literal["ce", "forward_kl", "reverse_kl", "jsd"] = "ce"
    """`ce`: cross-entropy on the text, no teacher's distribution. `forward_kl`: KL(teacher || student), covers what the
    teacher does. `reverse_kl`: KL(student || teacher), keeps to what it does most. `jsd`: the generalised
    Jensen-Shannon divergence between the two (GKD, arXiv:2306.13649)."""
    beta: float | None = Field(default=None, gt=0, lt=1)
    """Place of `jsd` between the forward KL (0) and the reverse KL (1); null is 0.5."""
    top_k: int = Field(default=0, ge=0)
    """Compare the teacher's k likeliest tokens and all others as one; 0 compares the whole vocabulary."""
    teacher: Teacher = "parent"
    """Who teaches; `ce` needs none."""
    routes: tuple[TeacherRoute, ...] = ()
    """Other teachers for higher levels or parts of a mixture: of those whose `from_level` an example's level has
    reached, the last that names its task, or else the last that names none."""

    @model_validator(mode="after")
    def _teacher_teaches(self) -> "Taught":
        if self.loss == "ce" and (self.teacher != "parent" or self.routes):
            raise ValueError("a teacher has no effect with loss ce; remove teacher, or set loss: forward_kl")
        if self.beta is not None and self.loss != "jsd":
            raise ValueError(f"beta has no effect with loss {self.loss}; remove beta, or set loss: jsd")
        if self.top_k and self.loss == "ce":
            raise ValueError("top_k has no effect with loss ce; remove top_k, or set loss: forward_kl")
        for task in dict.fromkeys(route.task for route in self.routes):
            starts = [route.from_level for route in self.routes if route.task == task]
            if starts != sorted(set(starts)):
                of = "" if task is None else f" of task {task}"
                raise ValueError(f"routes{of} start at levels {starts}; give each level once, in ascending order")
        return self

    @property
    def kl_beta(self) -> float:
        """The divergence as the learner knows it (`Batch.kl_beta`)."""
        if self.loss == "jsd":
            return 0.5 if self.beta is None else self.beta
        return 1.0 if self.loss == "reverse_kl" else 0.0

    def teacher_at(self, level: int, *, task: str = "") -> Teacher:
        """Return who teaches examples of a task at a level."""
        reached = [route for route in reversed(self.routes) if route.from_level <= level]
        routes = [route for name in (task, None) for route in reached if route.task == name]
        return routes[0].teacher if routes else self.teacher

    def teachers(self) -> Placed[Teacher]:
        """Return (place below these settings, teacher) of everyone who teaches; none for `ce`."""
        if self.loss == "ce":
            return ()
        routed = ((("routes", place, "teacher"), route.teacher) for place, route in enumerate(self.routes))
        return ((("teacher",), self.teacher), *routed)


class Distillation(Taught, Replay):
    """Learning from the lineage: its verified answers accumulated over generations, or a teacher's distribution."""

    weight: float = Field(default=1.0, gt=0)
    """Factor of this stream in the loss."""
    batch_size: int = Field(default=96, ge=1)
    """Replayed sequences in one update."""


class OnPolicyDistillation(Taught):
    """A teacher's word on the student's own samples, right and wrong, in groups of equal rewards too."""

    loss: Literal["token_reward", "forward_kl", "reverse_kl", "jsd"] = "token_reward"
    """`token_reward`: each sampled token's advantage rises by the teacher's log-probability less the student's, which
    makes the policy gradient that of the reverse KL at the price of one number a token. The others compare whole
    distributions, as in `distillation` (GKD on the student's samples)."""
    weight: float = Field(default=1.0, gt=0)
    """Factor of the mean over the step's own samples, beside those of the verifier's advantage and of replayed
    sequences, which keep theirs."""

    @model_validator(mode="after")
    def _compares_distributions(self) -> "OnPolicyDistillation":
        if self.top_k and self.loss == "token_reward":
            raise ValueError("token_reward looks at the sampled token alone; remove top_k, or set loss: reverse_kl")
        return self


def _placed(name: str, settings: Taught | None) -> Placed[Teacher]:
    return tuple(((name, *place), teacher) for place, teacher in settings.teachers()) if settings is not None else ()


def _held_to(kl: ReferenceKl | None) -> Placed[Reference]:
    return ((("algorithm", "kl", "model"), kl.model),) if kl is not None and kl.model != "start" else ()


def _check_refresh(kl: ReferenceKl | None, rounds: int) -> None:
    """Raise ValueError when a step is over before the first refresh of its reference."""
    if kl is not None and kl.refresh_every is not None and kl.refresh_every >= rounds:
        raise ValueError(
            f"a reference refreshed every {kl.refresh_every} rounds never is in {rounds}; lower "
            "algorithm.kl.refresh_every, raise updates, or remove it"
        )


class DistillStep(StepSettings):
    """Distillation on replayed sequences alone."""

    type: Literal["distill"] = "distill"
    distillation: Distillation = Distillation()

    def teachers(self) -> Placed[Teacher]:
        """Return everyone who teaches in it."""
        return _placed("distillation", self.distillation)


class RlStep(StepSettings):
    """Reinforcement learning with verifier reward on the target levels, with distillation on replayed ones."""

    type: Literal["rl"] = "rl"
    updates: int = Field(default=60, ge=1)
    """Rounds of sampling, each followed by the algorithm's optimizer updates: its inner epochs, times the mini-batches
    of each."""
    levels: Levels = "targets"
    prompts_per_update: int = Field(default=24, ge=1)
    """Prompts that a round draws, spread evenly over the levels; chance says which levels have one more than others."""
    group_size: int = Field(default=8, ge=1)
    """Samples per prompt, compared with one another."""
    probe: int | None = Field(default=None, ge=2)
    """Samples drawn of every prompt before those that need no more are left alone (after sGPO, arXiv:2606.08854): a
    prompt then has as many as two over the share of right ones among these, which are two right ones expected, at least
    `probe` and at most `group_size`; that many if none is right. null draws `group_size` of every prompt."""
    temperature: float = Field(default=1.0, gt=0)
    retire: float | None = Field(default=None, gt=0, le=1)
    """Share of right answers, in the `rl` rounds of the generations that the weights come from and in this step's own,
    from which a prompt is not drawn again (ScaleRL, arXiv:2510.13786, takes 0.9). It acts where prompts come back: on
    files and small levels. When all prompts of a level are solved, nothing is drawn there. null draws from all."""
    stepping_stones: float = Field(default=0.0, ge=0, lt=1)
    """Share of easier variants of the target level among the prompts (addition: one operand shorter)."""
    algorithm: Algorithm = Grpo()
    distillation: Distillation | None = Distillation()
    """null trains by policy gradient alone (a control: old levels erode)."""
    teaching: OnPolicyDistillation | None = None
    """Distillation on the step's own samples, in the same loss; `algorithm: {type: unrewarded}` leaves it alone."""

    @model_validator(mode="after")
    def _groups_can_compare(self) -> "RlStep":
        algorithm = self.algorithm
        within = isinstance(algorithm, GroupRelative) or (
            isinstance(algorithm, ReinforcePlusPlus) and algorithm.baseline
        )
        if self.group_size == 1 and within:
            raise ValueError(
                "group_size 1 with a group-relative advantage always gives advantage 0 and cannot learn; "
                "use group_size 2 or more (8 is usual), or algorithm: {type: reinforce_pp, baseline: false}"
            )
        if algorithm.mini_batches > self.prompts_per_update:
            raise ValueError(
                f"{self.prompts_per_update} prompts a round do not go into {algorithm.mini_batches} mini-batches of "
                "whole groups; lower algorithm.mini_batches, or raise prompts_per_update"
            )
        if self.group_size * self.prompts_per_update == 1:
            raise ValueError(
                "one sample in a round has nothing to be compared with; raise prompts_per_update or group_size"
            )
        if isinstance(algorithm, PassAtK) and algorithm.k >= self.group_size:
            raise ValueError(
                f"pass@{algorithm.k} of groups of {self.group_size} is one number for the whole group, so every "
                f"advantage would be 0; set algorithm.k below group_size, for example {max(self.group_size // 2, 1)}"
            )
        return self

    @model_validator(mode="after")
    def _unrewarded_is_taught(self) -> "RlStep":
        algorithm, teaching = self.algorithm, self.teaching
        if not isinstance(algorithm, Unrewarded):
            return self
        if teaching is None:
            raise ValueError(
                "algorithm unrewarded learns from a teacher alone, and none is named; "
                "set teaching: {teacher: champion}, or algorithm: {type: grpo}"
            )
        if algorithm.entropy is not None:
            raise ValueError(
                f"{algorithm.entropy.type} chooses tokens by their advantages, and those of unrewarded are all 0; "
                "remove entropy, or set algorithm: {type: grpo}"
            )
        in_reward = algorithm.kl is not None and algorithm.kl.where == "reward"
        if algorithm.correction is not None and teaching.loss != "token_reward" and not in_reward:
            raise ValueError(
                f"a correction weighs policy gradients, and unrewarded with teaching.loss {teaching.loss} has none; "
                "remove correction, or set teaching.loss: token_reward"
            )
        return self

    @model_validator(mode="after")
    def _reference_is_refreshed(self) -> "RlStep":
        _check_refresh(self.algorithm.kl, self.updates)
        return self

    @model_validator(mode="after")
    def _divergences_agree(self) -> "RlStep":
        one, other = self.distillation, self.teaching
        if one is None or other is None or one.loss == "ce" or other.loss == "token_reward":
            return self
        if (one.kl_beta, one.top_k) != (other.kl_beta, other.top_k):
            raise ValueError(
                "distillation and teaching are summed in one divergence and name two; give both the same loss, beta "
                "and top_k, or use teaching.loss: token_reward"
            )
        return self

    def teachers(self) -> Placed[Teacher]:
        """Return everyone who teaches in it."""
        return (*_placed("distillation", self.distillation), *_placed("teaching", self.teaching))

    @property
    def critic(self) -> ValueHead | None:
        return self.algorithm.value if isinstance(self.algorithm, Ppo) else None

    def references(self) -> Placed[Reference]:
        """Return the model of the KL term, unless it is the weights that the step starts from."""
        return _held_to(self.algorithm.kl)

    @model_validator(mode="after")
    def _probe_leaves_something(self) -> "RlStep":
        if self.probe is not None and self.probe >= self.group_size:
            raise ValueError(
                f"probe {self.probe} leaves nothing to decide in groups of {self.group_size}; "
                f"use probe: {max(self.group_size // 2, 2)}, a larger group_size, or remove probe"
            )
        if self.probe is not None and isinstance(self.algorithm, PassAtK) and self.probe <= self.algorithm.k:
            raise ValueError(
                f"a prompt left alone after {self.probe} samples has nothing to compare by pass@{self.algorithm.k}; "
                f"use probe: {self.algorithm.k + 1} or more, a smaller algorithm.k, or remove probe"
            )
        return self


class SelfPlayStep(StepSettings):
    """Self-play (Absolute Zero, arXiv:2505.03335): one model puts problems and solves them, and learns from both.

    Each round the model is asked for problems. The task's executor keeps those that are problems, belong to the train
    split, are of bounded size and not among the recent ones; the model answers each several times, and the verifier
    judges the answers. Both roles then share one policy-gradient update, beside distillation on replayed sequences.
    """

    type: Literal["self_play"] = "self_play"
    updates: int = Field(default=60, ge=1)
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
        if self.algorithm.reads_again:
            raise ValueError(
                "self_play learns from what it has just sampled and reads nothing again; remove correction"
            )
        if self.algorithm.mini_batches > 1:
            raise ValueError(
                "self_play learns from both roles of a round in one update; remove mini_batches, or set inner_epochs"
            )
        _check_refresh(self.algorithm.kl, self.updates)
        if self.proposer_reward == "none" and self.proposer_weight != 1.0:
            raise ValueError(
                "proposer_weight has no effect where the proposer is not trained; remove it, or set "
                "proposer_reward: learnability"
            )
        return self

    def teachers(self) -> Placed[Teacher]:
        """Return everyone who teaches in it."""
        return _placed("distillation", self.distillation)

    def references(self) -> Placed[Reference]:
        """Return the model of the KL term, unless it is the weights that the step starts from."""
        return _held_to(self.algorithm.kl)


class MergeStep(StepBase):
    """Several generations' weights become one model's, without training: the candidate, or what the next steps train.

    The first step of its generations, since it leaves nothing of the weights that they start from.
    """

    type: Literal["merge"] = "merge"
    method: Literal["linear", "ties"] = "linear"
    """`linear`: the weighted mean. `ties` (arXiv:2306.01708): generation 0's weights (with `training.adapter`: the
    base's), moved by the mean of the differences to them, the largest ones only and those alone that agree in sign."""
    models: tuple[LineageModel, ...] = Field(min_length=2)
    """Generations of the lineage, by place, by number, or as the end of a stage."""
    weights: tuple[float, ...] | None = None
    """One for each model. null: equal shares for `linear`, 1 each for `ties`, which takes the mean itself."""
    density: float | None = Field(default=None, gt=0, lt=1)
    """Share of each matrix's entries that `ties` keeps, the largest; null is 0.5."""

    @model_validator(mode="after")
    def _can_be_merged(self) -> "MergeStep":
        if len(set(self.models)) < len(self.models):
            raise ValueError("a model stands twice; name each once, and give it a larger share in weights")
        if self.density is not None and self.method != "ties":
            raise ValueError(f"density has no effect with method {self.method}; remove it, or set method: ties")
        if self.weights is None:
            return self
        if len(self.weights) != len(self.models):
            raise ValueError(f"{len(self.weights)} weights for {len(self.models)} models; give one for each")
        if self.method == "linear" and not math.isclose(sum(self.weights), 1, abs_tol=1e-6):
            raise ValueError(
                f"weights sum to {sum(self.weights):g}, which would scale the model; let those of linear sum to 1"
            )
        if self.method == "ties" and min(self.weights) <= 0:
            raise ValueError("ties elects signs before it weighs, so a weight of 0 or less makes no sense; raise it")
        return self

    @property
    def kept(self) -> float:
        """`density` with its default."""
        return 0.5 if self.density is None else self.density

    def shares(self) -> tuple[float, ...]:
        """Return each model's weight."""
        if self.weights is not None:
            return self.weights
        return (1.0,) * len(self.models) if self.method == "ties" else (1 / len(self.models),) * len(self.models)

    def merged(self) -> Placed[LineageModel]:
        """Return whose weights it makes into one model's."""
        return tuple((("models", index), model) for index, model in enumerate(self.models))


Step = Annotated[SftStep | DistillStep | RlStep | SelfPlayStep | MergeStep, Field(discriminator="type")]
