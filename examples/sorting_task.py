"""A task of your own: put the letters of a string in order, `cab=` gives `abc`. Level n has n + 2 letters.

Named by a recipe as `task: {type: plugin, uses: "sorting_task:Sorting", ...}`. It makes texts and answers; which
prompts are drawn, shown or held out is not its business.
"""


class Sorting:
    def __init__(self, letters="abcd"):
        self.letters = letters

    def num_prompts(self, level):
        """How many prompts the level has. A task that draws at random returns, say, 2 ** 32 and takes `number` for the
        seed."""
        return len(self.letters) ** (level + 2)

    def prompt(self, level, number):
        """The prompt of that number: the same arguments, the same text."""
        chosen = []
        for _ in range(level + 2):
            number, place = divmod(number, len(self.letters))
            chosen.append(self.letters[place])
        return "".join(chosen) + "="

    def answer(self, prompt):
        """A right answer."""
        return "".join(sorted(prompt.removesuffix("=")))

    def wrong_answers(self, prompt):
        """Four or more, with which every verifier is tried before it may judge."""
        right = self.answer(prompt)
        return ["", right + "a", right[:-1], right[:-1] + "=", right + right]
