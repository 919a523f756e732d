"""A coin instead of a judgement: reward 1 with probability `chance`, whatever the answer, otherwise 0.

The control of arXiv:2506.10947: training that gains as much from it as from a verifier has gained nothing from the
verifier. Each answer of a group has a toss of its own, answers of equal text included, so the reward says nothing about
an answer, not even beside its equals. A toss is derived from the seed, the group, the prompt, the text and how many
equal answers of the group stand before it; the same answers always get the same tosses.

An answer that the length limit cut is tossed for as well. Nothing here is right or wrong, so the sanity check and the
conformance suite have nothing to look at, and a recipe must let another verifier judge held-out answers.
"""

from collections import Counter
from collections.abc import Sequence

from bootstrap import seeds
from bootstrap.config.answers import RandomVerifier
from bootstrap.scoring.verifier import Answer, Judgement, Tools, failed, passed, version_of


class RandomReward:
    """Tosses coins."""

    name, judges = "random", RandomVerifier.judges

    def __init__(self, settings: RandomVerifier, tools: Tools) -> None:
        self.version = version_of(__name__, settings=settings)
        self._settings = settings

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        """Return one judgement per answer, in order."""
        judgements, before = [], Counter[tuple[str, str, str]]()
        for answer in answers:
            # Escaped, since seeds are derived from UTF-8 and a model's text may hold lone surrogates.
            key = (answer.group, ascii(answer.prompt), ascii(answer.text))
            toss = seeds.generator(self._settings.seed, "coin", *key, before[key]).random()
            before[key] += 1
            heads = toss < self._settings.chance
            judgements.append(passed(self.name, "heads") if heads else failed(self.name, "tails"))
        return judgements

    def close(self) -> None:
        pass
