"""How generations follow one another: where each starts, what it aims at, what it does."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bootstrap.config.base import Operational, Settings
from bootstrap.config.steps import Step


class NextLevel(Settings):
    """Aim at the first level that the champion has not reached."""

    type: Literal["next"] = "next"
    raise_at: float = Field(default=0.9, gt=0, le=1)
    """Held-out accuracy from which a level counts as reached and the aim moves one up."""


class Accelerated(Settings):
    """Aim at all next levels together, up to the first where the champion is below `until`."""

    type: Literal["accelerated"] = "accelerated"
    raise_at: float = Field(default=0.9, gt=0, le=1)
    """Held-out accuracy from which a level counts as reached."""
    until: float = Field(default=0.5, ge=0, le=1)
    """The first level below this accuracy is the last one aimed at."""
    max_levels: int = Field(default=4, ge=1)
    """Largest number of levels aimed at together."""

    @model_validator(mode="after")
    def _can_accelerate(self) -> "Accelerated":
        if self.until >= self.raise_at:
            raise ValueError(
                f"until {self.until} is not below raise_at {self.raise_at}, so no second level is ever aimed at; "
                "lower until, or use type: next"
            )
        return self


class Fixed(Settings):
    """Aim one level higher in every generation, whatever the results: what is left where no verifier tells them."""

    type: Literal["fixed"] = "fixed"


Curriculum = Annotated[NextLevel | Accelerated | Fixed, Field(discriminator="type")]


class Generations(Settings):
    count: Annotated[int, Operational()] = Field(default=6, ge=0)
    """Generations after generation 0."""
    init: Literal["champion", "previous", "base"] = "champion"
    """Whose weights a generation starts from; `previous` continues from the last candidate even if it was rejected."""
    curriculum: Curriculum = NextLevel()
    steps: tuple[Step, ...] = Field(min_length=1)
    """Run in order; the last one's weights are the candidate."""
