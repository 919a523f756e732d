"""Which answer a completion gives, whatever the working around it: what a vote counts, and what is called distinct.

It stands where the verifier looks for it. Of a rubric that is where its deciding components that compare an answer
look; a verifier that looks at no place, as one of form or of code, looks at the whole completion.

Left out: whether two answers mean the same (`1/2` and `0.5` are two), which only a verifier can tell.
"""

from dataclasses import replace

from bootstrap.config.verifiers import ByTaskVerifier, RubricVerifier, Verifier
from bootstrap.records import Rollout
from bootstrap.scoring.extract import Found, extract


def given_answer(rollout: Rollout, settings: Verifier) -> tuple[Found, ...]:
    """Return the answer that a verifier of these settings finds in a rollout; equal ones are the same answer.

    Where none stands, or the length limit cut it, it is the completion with the reason why: equal to no answer found.
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
