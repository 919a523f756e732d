"""Verifiers, which judge an answer PASS, FAIL or UNVERIFIABLE: the union of all, and those made of several."""

from collections.abc import Iterator
from math import isfinite
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, field_validator, model_validator

from bootstrap.config.answers import (
    ChoiceVerifier,
    ExactVerifier,
    FormatVerifier,
    JsonSchemaVerifier,
    Judges,
    LanguageVerifier,
    LengthVerifier,
    MathVerifier,
    NumericVerifier,
    RandomVerifier,
    RegexVerifier,
    VerifierSettings,
)
from bootstrap.config.base import ByType, Place, Settings
from bootstrap.config.code import CodeVerifier
from bootstrap.config.gym import ReasoningGymVerifier
from bootstrap.config.models import JudgeVerifier, MajorityVerifier, RewardModelVerifier


class PluginVerifier(VerifierSettings):
    """A verifier of the user's own: `verify(text, *, reference, prompt, **settings)`.

    The function returns True or False, a reward (PASS from 1), both as a pair, or None where it cannot judge.
    """

    judges: ClassVar[Judges] = "answer"
    reads: ClassVar[str | None] = None
    built_by: ClassVar[str] = "bootstrap.scoring.plugin:Plugin"
    judges_alone: ClassVar[bool] = False
    reads_rows: ClassVar[bool] = True
    type: Literal["plugin"] = "plugin"
    uses: str = Field(pattern=r"^[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?$")
    """`module:function` that can be imported, or the name of an entry point in the group `bootstrap.verifiers`."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Further keyword arguments of the function."""


class Component(Settings):
    """One verifier of a rubric."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Key of its reward in the verdict's breakdown."""
    verifier: "SingleVerifier"
    """Judge of this part of the reward."""
    weight: float = 1.0
    """Weight of its reward; only the weights' ratios count."""
    decides: bool = True
    """Whether the rubric's PASS needs this component's; otherwise it only shapes the reward."""


class RubricVerifier(VerifierSettings):
    """Several verifiers with one reward, kept with the reward of each. It is UNVERIFIABLE where any of them is."""

    reads: ClassVar[str | None] = None
    built_by: ClassVar[str] = "bootstrap.scoring.rubric:Rubric"
    type: Literal["rubric"] = "rubric"
    components: tuple[Component, ...] = Field(min_length=1)
    """Verifiers whose rewards are combined."""
    combine: Literal["sum", "product", "gate"] = "sum"
    """`sum`: the weighted mean of the rewards. `product`: their product. `gate`: the weighted mean if every deciding
    component says PASS, else 0."""

    def readers(self, *, decides: bool = True) -> Iterator[tuple[VerifierSettings, bool]]:
        """Yield its components' readers."""
        for component in self.components:
            yield from component.verifier.readers(decides=decides and component.decides)

    @field_validator("components")
    @classmethod
    def _components_make_sense(cls, components: tuple[Component, ...]) -> tuple[Component, ...]:
        names = [component.name for component in components]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} stands twice; give each component a name of its own")
        total = sum(component.weight for component in components)
        if not isfinite(total):
            raise ValueError("the weights add up to no finite number; make them smaller, only their ratios count")
        if not total > 0:
            raise ValueError("the weights add up to nothing positive; give at least one component a positive weight")
        if coins := [component.name for component in components if component.verifier.judges == "nothing"]:
            raise ValueError(
                f"{', '.join(coins)} tosses a coin, and no verdict with it could be trusted; remove it, or use random "
                "as the recipe's whole verifier, a control"
            )
        if not any(component.decides for component in components):
            raise ValueError("no component decides, so nothing could be PASS; leave decides: true on one at least")
        return components

    @model_validator(mode="after")
    def _product_makes_sense(self) -> "RubricVerifier":
        if self.combine == "product" and any(component.weight != 1 for component in self.components):
            raise ValueError("weights have no effect on a product; remove them, or use combine: sum")
        if self.combine == "product" and (negative := [c.name for c in self.components if c.verifier.can_be_negative]):
            raise ValueError(
                f"the reward of {', '.join(negative)} can be negative, and two of those would make a good product; "
                "use combine: sum"
            )
        return self

    @property
    def judges(self) -> Judges:  # pyright: ignore[reportIncompatibleVariableOverride]  # its parts' alone decide
        """`answer` if a deciding component judges answers, else `group` if one does that, else `form`."""
        found = {component.verifier.judges for component in self.components if component.decides}
        return "answer" if "answer" in found else "group" if "group" in found else "form"

    @property
    def can_be_negative(self) -> bool:
        return any(component.weight < 0 or component.verifier.can_be_negative for component in self.components)

    def parts(self) -> Iterator[tuple[Place, VerifierSettings]]:
        yield from (
            (("components", index, "verifier"), component.verifier) for index, component in enumerate(self.components)
        )


class ByTaskVerifier(VerifierSettings):
    """A verifier for each part of a mixture, by the part's name.

    A verifier of form, as a reward model, may judge a trained part if `evaluation.verifier` judges answers.
    """

    built_by: ClassVar[str] = "bootstrap.scoring.by_task:ByTask"
    type: Literal["by_task"] = "by_task"
    tasks: dict[str, "SingleVerifier"] = Field(min_length=1)
    """Verifier of each part of the mixture."""

    @property
    def judges(self) -> Judges:  # pyright: ignore[reportIncompatibleVariableOverride]  # its parts' alone decide
        """The first of `Judges` that some part's verifier judges."""
        found = {verifier.judges for verifier in self.tasks.values()}
        return next(judges for judges in get_args(Judges) if judges in found)

    @property
    def judged_parts(self) -> frozenset[str]:
        return frozenset(self.tasks)

    def parts(self) -> Iterator[tuple[Place, VerifierSettings]]:
        yield from ((("tasks", name), verifier) for name, verifier in self.tasks.items())

    def of_task(self, name: str) -> tuple[Place, VerifierSettings] | None:
        return (("tasks", name), self.tasks[name]) if name in self.tasks else None


_Single = (
    ExactVerifier
    | NumericVerifier
    | ChoiceVerifier
    | RegexVerifier
    | FormatVerifier
    | LanguageVerifier
    | LengthVerifier
    | JsonSchemaVerifier
    | MathVerifier
    | CodeVerifier
    | ReasoningGymVerifier
    | JudgeVerifier
    | RewardModelVerifier
    | MajorityVerifier
    | RandomVerifier
    | PluginVerifier
    | RubricVerifier
)
SingleVerifier = Annotated[_Single, ByType()]
"""Every verifier but one by task."""
READERS = frozenset(kind.model_fields["type"].default for kind in get_args(_Single) if kind.reads_rows)
"""Types of verifiers that read rows (`VerifierSettings.reads_rows`)."""
Verifier = Annotated[_Single | ByTaskVerifier, ByType()]
"""The discriminated union of all verifiers; `type` tells them apart."""

Component.model_rebuild()
RubricVerifier.model_rebuild()
ByTaskVerifier.model_rebuild()
