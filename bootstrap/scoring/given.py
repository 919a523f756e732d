"""The answer that a completion gives, without the working around it: votes and distinct answers are counted by it.

It stands where the verifier looks for it: a rubric where its deciding components that compare answers look, a verifier
without a place (of form, of code) at the whole completion.

Left out: whether two answers mean the same (`1/2` and `0.5` count as two), which only a verifier can tell.
"""

from dataclasses import replace

from bootstrap.config.verifiers import ByTaskVerifier, RubricVerifier, Verifier
from bootstrap.records import Rollout
from bootstrap.scoring.extract import Found, extract


def given_answer(rollout: Rollout, settings: Verifier) -> tuple[Found, ...]:
    """Return the answer that a verifier of these settings finds in a rollout; equal results are the same answer.

    A missing or truncated answer is the completion with the reason, which equals no answer that was found.
    """
    if isinstance(settings, ByTaskVerifier):
        return given_answer(rollout, settings.tasks[rollout.task])
    if isinstance(settings, RubricVerifier):
        deciding = [part.verifier for part in settings.components if part.decides and part.verifier.judges == "answer"]
        if deciding:
            return tuple(found for part in deciding for found in given_answer(rollout, part))
    place = getattr(settings, "answer", None)
    if place is None:
        return (Found(text=rollout.text),)
    found = Found(reason="truncated") if rollout.finish.is_truncated else extract(rollout.text, place)
    return (found if found.text is not None else replace(found, text=rollout.text),)
