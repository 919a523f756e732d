"""How many tokens a task's prompts and answers have, and how many held-out prompts a level."""

from collections.abc import Sequence

from bootstrap.config.tasks import tasks_of
from bootstrap.prompts.task import Task, own_level
from bootstrap.records import Example, Prompt
from bootstrap.stages.encoding import Encoder

SAMPLED_PROMPTS = 32
"""Prompts drawn to measure a level's lengths."""


def num_heldout(task: Task, level: int, count: int) -> int:
    """Return how many of `count` held-out prompts a level has: all of them where they cannot be counted."""
    found = task.num_heldout(level, count)
    return count if found is None else found


class Lengths:
    """A task's texts in tokens, special tokens included: an encoder's, or one for each character."""

    def __init__(self, task: Task, encoder: Encoder | None) -> None:
        self.task, self._encoder = task, encoder
        self._drawn: dict[int, list[tuple[int, int]]] = {}

    def pairs(self, shown: Sequence[tuple[Prompt, str]]) -> list[tuple[int, int]]:
        """Return the tokens of prompts and of their answers."""
        if self._encoder is None:
            return [(1 + len(prompt.text), len(answer) + 1) for prompt, answer in shown]
        encoded = self._encoder.encode(
            [Example(source=prompt.id, prompt_text=prompt.text, completion_text=answer) for prompt, answer in shown]
        )
        return [(e.num_prompt_tokens, len(e.tokens) - e.num_prompt_tokens) for e in encoded]

    def prompts(self, level: int) -> list[int]:
        """Return the tokens of some prompts of a level."""
        return [prompt for prompt, _ in self._sample(level)]

    def answer(self, level: int) -> float:
        """Return the tokens of the longest right answer, or the task's limit if set."""
        settings = tasks_of(self.task.settings).values()
        limits = [float(one.answer_limit) for one in settings if one.answer_limit]
        if len(limits) == len(settings):
            return max(limits)
        if self._encoder is None:
            return max([1.0 + self.task.max_answer_length(level), *limits])
        return max([*(float(answer) for _, answer in self._sample(level)), *limits])

    def _sample(self, level: int) -> list[tuple[int, int]]:
        # A generation may have been grown when levels past the task's last one repeated it.
        level = own_level(self.task, level)
        if level not in self._drawn:
            drawn = self.task.draw(level, SAMPLED_PROMPTS, seed=0)
            self._drawn[level] = self.pairs([(prompt, self.task.solution(prompt)) for prompt in drawn])
        return self._drawn[level]
