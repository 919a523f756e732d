"""Distillation: the teacher, and the divergence between teacher and student that training lowers."""

from typing import Literal

from pydantic import Field, model_validator

from bootstrap.config.base import Place, Placed, Settings
from bootstrap.config.models import Teacher
from bootstrap.config.sources import Replay


class TeacherRoute(Settings):
    """Another teacher for the levels from one on, for one part of a mixture (MOPD, arXiv:2601.02780), or for both."""

    from_level: int = Field(default=1, ge=1)
    """First level of the route."""
    task: str | None = None
    """Name of the part; null means every part that no other route of this level names."""
    teacher: Teacher
    """Teacher on the route."""

    @model_validator(mode="after")
    def _leads_somewhere_else(self) -> "TeacherRoute":
        if self.task is None and self.from_level == 1:
            raise ValueError("the route is for every example, as teacher is; set from_level or task, or set teacher")
        return self


class Taught(Settings):
    """The teacher, and the divergence between teacher and student that training lowers."""

    loss: Literal["ce", "forward_kl", "reverse_kl", "jsd"] = "ce"
    """`ce`: cross-entropy on the text, without a teacher. `forward_kl`: KL(teacher || student), which covers all that
    the teacher does. `reverse_kl`: KL(student || teacher), which keeps to what the teacher does most. `jsd`: the
    generalised Jensen-Shannon divergence between the two (GKD, arXiv:2306.13649)."""
    beta: float | None = Field(default=None, gt=0, lt=1)
    """Position of `jsd` between the forward KL (0) and the reverse KL (1); null is 0.5."""
    top_k: int = Field(default=0, ge=0)
    """Compare the teacher's k likeliest tokens one by one and all others as one, which saves memory; 0 compares the
    whole vocabulary."""
    teacher: Teacher = "parent"
    """The teacher; `ce` needs none."""
    routes: tuple[TeacherRoute, ...] = ()
    """Other teachers for higher levels or parts of a mixture. Of the routes whose `from_level` is at most the example's
    level, the last one that names its task counts, or else the last one that names no task."""

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
        """The divergence in the learner's terms (`Batch.kl_beta`)."""
        if self.loss == "jsd":
            return 0.5 if self.beta is None else self.beta
        return 1.0 if self.loss == "reverse_kl" else 0.0

    def teacher_at(self, level: int, *, task: str = "") -> Teacher:
        """Return the teacher of examples of a task at a level."""
        reached = [route for route in reversed(self.routes) if route.from_level <= level]
        routes = [route for name in (task, None) for route in reached if route.task == name]
        return routes[0].teacher if routes else self.teacher

    def teachers(self) -> Placed[Teacher]:
        """Return every teacher with its place below these settings; none for `ce`."""
        if self.loss == "ce":
            return ()
        found: list[tuple[Place, Teacher]] = [(("teacher",), self.teacher)]
        for place, route in enumerate(self.routes):
            found.append((("routes", place, "teacher"), route.teacher))
        return tuple(found)


class Distillation(Taught, Replay):
    """Learning on replayed sequences of the lineage: from their text, or from a teacher's distribution."""

    weight: float = Field(default=1.0, gt=0)
    """Factor of this stream in the loss."""
    batch_size: int = Field(default=96, ge=1)
    """Replayed sequences in one update."""


class OnPolicyDistillation(Taught):
    """Distillation on the student's own samples, right and wrong, those of zero-variance groups included."""

    loss: Literal[  # pyright: ignore[reportIncompatibleVariableOverride]  # settings are frozen
        "token_reward", "forward_kl", "reverse_kl", "jsd"
    ] = "token_reward"
    """`token_reward`: each sampled token's advantage grows by the teacher's log-probability less the student's; the
    policy gradient is then that of the reverse KL, and the teacher computes one number a token. The others compare
    whole distributions, as in `distillation` (GKD on the student's samples)."""
    weight: float = Field(default=1.0, gt=0)
    """Factor of this term's mean over the step's own samples. The terms of the verifier's advantage and of replayed
    sequences keep their own."""

    @model_validator(mode="after")
    def _compares_distributions(self) -> "OnPolicyDistillation":
        if self.top_k and self.loss == "token_reward":
            raise ValueError("token_reward looks at the sampled token alone; remove top_k, or set loss: reverse_kl")
        return self
