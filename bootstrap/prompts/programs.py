"""Short programs on a few digits: `rl:0123=` asks what `r`, then `l` print on 0123, and has the answer `r3210l2103`.

A program is a chain of operations on all digits, so every program ends:

| name | effect                                            |
|------|---------------------------------------------------|
| `r`  | reverses the digits                               |
| `l`  | rotates them left by one                          |
| `s`  | swaps the first two                               |
| `i`  | raises each by one, 9 to 0                        |
| `c`  | overwrites the last with a copy of the first      |

It prints each operation's name and its result. A level-n text has n operations. Any chain of these letters before
digits of the task's width is a problem that `execute` can answer, so a model may propose problems too.

Left out: splits and draws (`procedural.py`), and the use of a model's proposals (`stages/self_play.py`).
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from random import Random

from bootstrap.config.programs import DIGITS, OPERATIONS, PROPOSING, ProgramsTask
from bootstrap.config.task import room
from bootstrap.prompts.procedural import Family, ProceduralTask
from bootstrap.prompts.splits import prompt_id
from bootstrap.prompts.task import Task
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
    """Return the output of a program of known operations on its digits."""
    printed = []
    for operation in program:
        digits = _EFFECTS[operation](digits)
        printed.append(operation + digits)
    return "".join(printed)


class Programs(Family):
    """Texts of the task and the programs' outputs."""

    name = kind = "programs"

    def __init__(self, *, width: int) -> None:
        self.width = width
        self._form = re.compile(f"[{OPERATIONS}]+:[{DIGITS}]{{{width}}}=")

    def num_texts(self, level: int, *, easier_variant: bool) -> int:
        return len(OPERATIONS) ** level * len(DIGITS) ** self.width

    def texts(self, level: int, *, easier_variant: bool) -> Iterator[str]:
        parts = itertools.product(*[OPERATIONS] * level, ":", *[DIGITS] * self.width, "=")
        return ("".join(symbols) for symbols in parts)

    def sample(self, rng: Random, *, level: int, easier_variant: bool) -> str:
        program, digits = rng.choices(OPERATIONS, k=level), rng.choices(DIGITS, k=self.width)
        return f"{''.join(program)}:{''.join(digits)}="

    def level_of(self, text: str) -> int | None:
        return text.index(":") if self._form.fullmatch(text) else None

    def answer(self, text: str) -> str:
        program, digits = text.removesuffix("=").split(":")
        return execute(program, digits)

    def wrong_answers(self, text: str) -> list[str]:
        right, program = self.answer(text), text.split(":")[0]
        other = next(name for name in OPERATIONS if name != program[-1])
        candidates = (
            "",
            right[:-1],
            right + "0",
            right[:-1] + right[-1].translate(_RAISED),
            # The last digits alone, another operation's name before them, one step too many.
            right[-self.width :],
            right[: -self.width - 1] + other + right[-self.width :],
            right + right[-self.width - 1 :],
        )
        return [answer for answer in dict.fromkeys(candidates) if answer != right]

    def max_answer_length(self, level: int) -> int:
        return level * (1 + self.width)


class ProgramTask(ProceduralTask):
    """The task, with a prompt that asks a model for a problem, and a reader of its replies."""

    def __init__(self, settings: ProgramsTask) -> None:
        self.programs = Programs(width=settings.width)
        super().__init__(settings, family=self.programs)

    @property
    def proposing(self) -> Prompt:
        """The prompt that asks for a problem; its level is 0."""
        return Prompt(id=prompt_id(self.name, PROPOSING), task=self.name, level=0, text=PROPOSING, split=Split.TRAIN)

    def max_problem_tokens(self, level: int) -> int:
        """Return the most tokens of a model's problem up to a level, its end included."""
        return room(level + self.programs.width + 2)

    def demonstrate_proposals(self, levels: Sequence[int], count: int, *, seed: int) -> list[tuple[Prompt, str]]:
        """Return `count` times the proposing prompt with a train problem, level uniform over `levels`.

        Raises RecipeError for a level beyond the task's base level.
        """
        shown = self.demonstrate(levels, count, seed=derive_seed(seed, "proposals"))
        return [(self.proposing, problem.text) for problem, _ in shown]

    @classmethod
    def of(cls, task: Task) -> "ProgramTask":
        """Return the task of a recipe that proposes problems, which is this one."""
        assert isinstance(task, cls), "a recipe that proposes problems has a task that executes"
        return task
