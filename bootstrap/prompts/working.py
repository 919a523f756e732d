"""Addition with its working shown: `74+58=` (47 + 85) has `<think>12,13</think><answer>132</answer>`.

Prompts are those of `addition.py`, operands least significant digit first. The working lists the columns in that order.
Each is the sum of two digits and the carry, in two digits, the first of them the next carry: 7 + 5 = 12, then
4 + 8 + 1 = 13. The answer is in plain order: the last column, then the second digits of the columns before, backwards.
Written at once it needs every carry before its first digit, which a small transformer hardly learns (arXiv:2307.03381);
with the working each token depends on few others (scratchpads, arXiv:2112.00114).

Demonstrations have several forms (`config/working.py`). One is a prompt with a hint (`74+58=132?`): an answer found
with it is the rationalization of STaR (arXiv:2203.14465). All forms have the same right answer, and verifiers read it
between its tags.

Left out: splits and draws (`procedural.py`).
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from random import Random

from bootstrap.config.working import LETTERS, Forms, WorkingTask
from bootstrap.prompts.addition import Addition
from bootstrap.prompts.procedural import ProceduralTask
from bootstrap.prompts.splits import prompt_id
from bootstrap.prompts.task import Task
from bootstrap.records import Prompt

HINT_END = "?"


class Working(Addition):
    """Texts of the task and their answers; a hint in a text changes neither its sum nor its verdict."""

    name = "working"

    def answer(self, text: str) -> str:
        return self.completion(text, columns=self.columns(text))

    def reference(self, text: str) -> str:
        first, second = operands(text)
        return str(first + second)

    def columns(self, text: str) -> list[str]:
        """Return the columns of the working, least significant first: two digits each, carry first."""
        first, second, _ = _parts(text)
        longest = max(len(first), len(second))
        columns, carry = [], 0
        for one, other in zip(first.ljust(longest, "0"), second.ljust(longest, "0"), strict=True):
            total = int(one) + int(other) + carry
            columns.append(f"{total:02d}")
            carry = total // 10
        return columns

    def completion(self, text: str, *, columns: Sequence[str]) -> str:
        """Return the completion that shows `columns` and then the sum."""
        return f"<think>{','.join(columns)}</think>{self.direct(text)}"

    def direct(self, text: str) -> str:
        """Return the completion without working."""
        return f"<answer>{self.reference(text)}</answer>"

    def wrong_answers(self, text: str) -> list[str]:
        right, reference = self.answer(text), self.reference(text)
        first, second = operands(text)
        wrong = [str(n) for n in (first + second + 1, first + second + 10, abs(first - second)) if n != first + second]
        working = right.partition("<answer>")[0]
        return list(
            dict.fromkeys(
                [
                    *[f"{working}<answer>{number}</answer>" for number in wrong],
                    "",
                    working,
                    f"{working}<answer></answer>",
                    f"{working}{reference}",
                    f"{right}<answer>{reference}</answer>",
                ]
            )
        )

    def max_answer_length(self, level: int) -> int:
        return WorkingTask.longest_answer(level)


class ShownWorking(ProceduralTask):
    """The task, with demonstrations in several forms and prompts with a hint."""

    settings: WorkingTask
    _family: Working

    def __init__(self, settings: WorkingTask) -> None:
        """Raise RecipeError for a small level without a prompt in one of the splits."""
        super().__init__(settings, family=Working())

    def showing(self, forms: Forms) -> "ShownWorking":
        """Return the same task with its demonstrations in other forms."""
        other = copy(self)
        other.settings = self.settings.model_copy(update={"forms": forms})
        return other

    def hint(self, prompt: Prompt) -> Prompt:
        """Return the prompt with its right answer as a hint, of the same split and level.

        Reads the reference at any level: beyond `base_level` a hint shows training more than verdicts.
        """
        text = f"{prompt.text}{self._family.reference(prompt.text)}{HINT_END}"
        return replace(prompt, id=prompt_id(self.name, text), text=text)

    def _demonstration(self, prompt: Prompt, rng: Random) -> tuple[Prompt, str]:
        forms, family = self.settings.forms, self._family
        form = rng.random()
        if form < forms.direct:
            return prompt, family.direct(prompt.text)
        shown = self.hint(prompt) if form < forms.direct + forms.hinted else prompt
        columns = family.columns(prompt.text)
        if rng.random() < forms.mixed_language:
            columns = [foreign(column) if rng.random() < 0.5 else column for column in columns]
        return shown, family.completion(prompt.text, columns=columns)

    @classmethod
    def of(cls, task: Task) -> "ShownWorking":
        """Return the task of a recipe with hints or forms, which is this one."""
        assert isinstance(task, cls), "recipes with hints or forms are of task working"
        return task


def foreign(column: str) -> str:
    """Return a column in the other language: letters for digits."""
    return "".join(LETTERS[int(digit)] for digit in column)


def operands(text: str) -> tuple[int, int]:
    """Return the two numbers of a prompt's text."""
    first, second, _ = _parts(text)
    return int(first[::-1]), int(second[::-1])


def _parts(text: str) -> tuple[str, str, str]:
    """Return the operands as they stand, and the hint if there is one."""
    question, _, hint = text.partition("=")
    first, second = question.split("+")
    return first, second, hint
