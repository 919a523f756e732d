"""Majority vote: the answer that most of a group agree on counts as right (self-consistency, without references).

A group is the answers to one prompt by the same weights. Earlier generations may vote too, as several models do in
arXiv:2502.01612: they answer the same prompt, and their answers are not judged.

    answer                                               vote
    truncated, or missing at `answer`                    none, FAIL
    shorter than `min_length_ratio` of the longest       none, FAIL (the length filter of arXiv:2502.01612)
    any other                                            one for its text

The winner is the text with the most votes, at least two of them and at least `min_share`. On a tie, too small a share
or fewer than two votes the whole group FAILS: the answers themselves disagree, equal rewards carry no gradient, and a
prompt without consensus teaches nothing. A single answer without voters is UNVERIFIABLE, since no vote exists.

The degenerate case: a model that always gives the same wrong answer is always right. Agreement is not truth: training
on it raises accuracy and then collapses (arXiv:2505.21444), so held-out answers need a verifier with references.
"""

import math
from collections import Counter
from collections.abc import Sequence

from bootstrap.config.models import MajorityVerifier
from bootstrap.errors import VerifierError
from bootstrap.scoring import extract
from bootstrap.scoring.verifier import Answer, Judgement, Tools, failed, passed, unverifiable, version_of

ALONE = (
    "one answer alone cannot be judged by a vote; sample several answers to each prompt, and give held-out answers a "
    "verifier with references (evaluation.verifier)"
)


class Majority:
    """Counts votes."""

    name, judges = "majority", MajorityVerifier.judges

    def __init__(self, settings: MajorityVerifier, tools: Tools) -> None:
        """Raise VerifierError when generations are to vote where there is no lineage."""
        self.version = version_of(__name__, settings=settings)
        self._settings = settings
        self._models = tools.models
        if settings.voters and self._models is None:
            raise VerifierError(
                "the voters are generations of a lineage, and there is no lineage here; use them in a recipe that is "
                "run, or remove voters"
            )

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        """Return one judgement per answer; answers that share `group` and prompt are one group."""
        groups: dict[tuple[str, str], list[int]] = {}
        for place, answer in enumerate(answers):
            groups.setdefault((answer.group, answer.prompt), []).append(place)
        others = self._voters_answers(list(dict.fromkeys(answer.prompt for answer in answers)))
        judgements: dict[int, Judgement] = {}
        for (_, prompt), places in groups.items():
            found = [extract.answer_of(answers[place], self._settings.answer) for place in places]
            judgements |= dict(zip(places, self._judge_group(found, others.get(prompt, [])), strict=True))
        return [judgements[place] for place in range(len(answers))]

    def close(self) -> None:
        pass

    def _voters_answers(self, prompts: Sequence[str]) -> dict[str, list[str]]:
        """Return the voters' answers by prompt."""
        settings = self._settings
        found: dict[str, list[str]] = {prompt: [] for prompt in prompts}
        for voter in settings.voters if prompts else ():
            assert self._models is not None, "voters were refused where there is no lineage"
            completed = self._models.complete(
                prompts,
                model=voter,
                samples=settings.voter_samples,
                temperature=settings.voter_temperature,
                max_new_tokens=settings.voter_max_tokens,
                seed=0,
            )
            for prompt, texts in zip(prompts, completed, strict=True):
                places = [extract.extract(text, settings.answer) for text in texts]
                found[prompt] += [place.text for place in places if place.text is not None]
        return found

    def _judge_group(self, found: Sequence[extract.Found], others: Sequence[str]) -> list[Judgement]:
        settings = self._settings
        if len(found) == 1 and not settings.voters:
            return [unverifiable(ALONE)]
        texts = [*(place.text for place in found if place.text is not None), *others]
        least = math.ceil(settings.min_length_ratio * max(map(len, texts), default=0))
        votes = Counter(text for text in texts if len(text) >= least)
        winner, problem = self._winner(votes)
        return [self._judge_one(place, winner, problem, least=least) for place in found]

    def _winner(self, votes: Counter[str]) -> tuple[str | None, str]:
        """Return the winning text and its votes, or None and the reason."""
        total = votes.total()
        if total < 2:
            return None, f"{total} vote(s) in the group; a vote needs two"
        (leader, count), *rest = votes.most_common(2)
        if rest and rest[0][1] == count:
            return None, f"no winner: several answers have {count} of {total} votes"
        # A share such as 2/3 has no exact float, so the bound allows for rounding.
        if count < self._settings.min_share * total - 1e-9:
            return None, f"no winner: the leader has {count} of {total} votes"
        return leader, f"{count} of {total} votes"

    def _judge_one(self, place: extract.Found, winner: str | None, told: str, *, least: int) -> Judgement:
        if place.text is None:
            return failed(self.name, place.reason)
        if len(place.text) < least:
            return failed(self.name, f"shorter than {self._settings.min_length_ratio:g} of the group's longest")
        if winner is None:
            return failed(self.name, told)
        if place.text == winner:
            return passed(self.name, f"with the majority: {told}")
        return failed(self.name, f"against the majority: {told}")
