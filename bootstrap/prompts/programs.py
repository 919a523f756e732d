"""Short programs on a few digits: `rl:0123=` asks what `r`, then `l` print on 0123, and has the answer `r3210l2103`.

A program is a chain of operations, each of which takes all digits and leaves as many, so every program ends:

| name | what it does                                      |
|------|---------------------------------------------------|
| `r`  | reverses the digits                               |
| `l`  | rotates them left by one                          |
| `s`  | swaps the first two                               |
| `i`  | raises each by one, 9 to 0                        |
| `c`  | overwrites the last with a copy of the first      |

It prints each operation with the digits it leaves. A level-n text has n operations; any chain of these letters before
digits of the task's width is a problem, and `execute` knows its answer, so problems may come from a model too.

Left out: splits, seeds and who may see answers (`task.py`), and what becomes of a model's proposals
(`stages/self_play.py`).
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from random import Random

from bootstrap.config.programs import DIGITS, OPERATIONS, PROPOSING, ProgramsTask
from bootstrap.config.task import room
from bootstrap.prompts.task import ProceduralTask, prompt_id
from bootstrap.records import Prompt, Split
from bootstrap.seeds import derive_seed

_RAISED = str.maketrans(DIGITS, DIGITS[1:] + DIGITS[0])
_EFFECTS: dict[str, Callable[[str], str]] = {
    "r": lambda digits: digits[::-1],
    "l": lambda digits: digits[1:] + digits[0],
    "s": lambda digits: digits[1] + digits[0] + digits[2:],
    "i": lambda digits: digits.translate(_RAISED),
    "c": lambda digits: digits[:-1] + digits[0],
}
assert "".join(_EFFECTS) == OPERATIONS, "the settings declare the letters that this module knows"


def execute(program: str, digits: str) -> str:
    """Return what a program of known operations prints on its digits."""
    printed = []
    for operation in program:
        digits = _EFFECTS[operation](digits)
        printed.append(operation + digits)
    return "".join(printed)


class Programs:
    """Texts of the task and what the programs print."""

    name = kind = "programs"
    has_easier_variants = False

    def __init__(self, *, width: int) -> None:
        self.width = width
        self._form = re.compile(f"[{OPERATIONS}]+:[{DIGITS}]{{{width}}}=")

    def question(self, text: str) -> str:
        return text

    def num_texts(self, level: int, *, easier_variant: bool) -> int:
        assert not easier_variant, f"{self.name} has no easier variants"
        return len(OPERATIONS) ** level * len(DIGITS) ** self.width

    def texts(self, level: int, *, easier_variant: bool) -> Iterator[str]:
        assert not easier_variant, f"{self.name} has no easier variants"
        parts = itertools.product(*[OPERATIONS] * level, ":", *[DIGITS] * self.width, "=")
        return ("".join(symbols) for symbols in parts)

    def sample(self, rng: Random, *, level: int, easier_variant: bool) -> str:
        assert not easier_variant, f"{self.name} has no easier variants"
        program, digits = rng.choices(OPERATIONS, k=level), rng.choices(DIGITS, k=self.width)
        return f"{''.join(program)}:{''.join(digits)}="

    def sample_mixed(self, rng: Random, *, levels: Sequence[int]) -> tuple[str, int, bool]:
        level = rng.choice(levels)
        return self.sample(rng, level=level, easier_variant=False), level, False

    def level_of(self, text: str) -> int | None:
        """Return the level of a problem, or None for a text that is none."""
        return text.index(":") if self._form.fullmatch(text) else None

    def answer(self, text: str) -> str:
        program, digits = text.removesuffix("=").split(":")
        return execute(program, digits)

    def reference(self, text: str) -> str:
        return self.answer(text)

    def wrong_answers(self, text: str) -> list[str]:
        right, program = self.answer(text), text.split(":")[0]
        other = next(name for name in OPERATIONS if name != program[-1])
        candidates = (
            "",
            right[:-1],
            right + "0",
            right[:-1] + right[-1].translate(_RAISED),
            # The digits alone, another operation's name before the last ones, and one step too many.
            right[-self.width :],
            right[: -self.width - 1] + other + right[-self.width :],
            right + right[-self.width - 1 :],
        )
        return [answer for answer in dict.fromkeys(candidates) if answer != right]

    def max_answer_length(self, level: int) -> int:
        return level * (1 + self.width)


class ProgramTask(ProceduralTask):
    """The task, with what a model needs to put problems of it: a prompt that asks for one, and a reader of replies."""

    def __init__(self, settings: ProgramsTask) -> None:
        self.programs = Programs(width=settings.width)
        super().__init__(settings, family=self.programs)

    @property
    def proposing(self) -> Prompt:
        """The prompt that asks for a problem; it is of no level."""
        return Prompt(id=prompt_id(self.name, PROPOSING), task=self.name, level=0, text=PROPOSING, split=Split.TRAIN)

    def read(self, text: str) -> Prompt | None:
        """Return the problem that a text puts, in whichever split it belongs to; None when it puts none."""
        level = self.programs.level_of(text)
        if level is None:
            return None
        return Prompt(id=prompt_id(self.name, text), task=self.name, level=level, text=text, split=self.split_of(text))

    def max_problem_tokens(self, level: int) -> int:
        """Return the tokens that a model's problem may have up to a level, its end included."""
        return room(level + self.programs.width + 2)

    def demonstrate_proposals(self, levels: Sequence[int], count: int, *, seed: int) -> list[tuple[Prompt, str]]:
        """Return `count` times the proposing prompt with a train problem, level uniform over `levels`.

        Raises RecipeError when any level lies beyond the task's base level.
        """
        shown = self.demonstrate(levels, count, seed=derive_seed(seed, "proposals"))
        return [(self.proposing, problem.text) for problem, _ in shown]
