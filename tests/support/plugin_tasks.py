"""Tasks as a user writes them: a good one, and one for each way to go wrong."""

from random import Random


class Doubling:
    """A good one: `ab=` gives `abab`; level n has 4^n prompts."""

    def __init__(self, letters="abcd"):
        self.letters = letters

    def num_prompts(self, level):
        return len(self.letters) ** level

    def prompt(self, level, number):
        chosen = ""
        for _ in range(level):
            number, place = divmod(number, len(self.letters))
            chosen += self.letters[place]
        return chosen + "="

    def answer(self, prompt):
        return prompt[:-1] * 2

    def wrong_answers(self, prompt):
        return ["", "a=", "b=", "=", self.answer(prompt) + "a", ""]


class Seeded(Doubling):
    """A good one that takes the number for a seed; its prompts repeat."""

    def num_prompts(self, level):
        return 2**32

    def prompt(self, level, number):
        return "".join(Random(number).choices(self.letters, k=level)) + "="


class Told(Doubling):
    """A good one whose verifier is told more than the answer."""

    def reference(self, prompt):
        return f"twice {prompt}"


def made(letters="abcd"):
    """A function that makes the task."""
    return Doubling(letters)


class Odd(Doubling):
    """Returns what the options say in one method."""

    def __init__(self, method, value):
        super().__init__()
        setattr(self, method, lambda *_: value)


class Clumsy(Doubling):
    def answer(self, prompt):
        raise KeyError(prompt)


class Half:
    """Has no answers."""

    def num_prompts(self, level):
        return 1

    def prompt(self, level, number):
        return "a"
