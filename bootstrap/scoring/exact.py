"""The answer equals the reference, character by character: reward 1, otherwise 0.

An answer must also end by itself. One that the length limit cut is a FAIL even if its text equals the reference: a
model that never ends its answers has not learnt the task, and imitating it would teach that.
"""

from bootstrap.config.verifiers import ExactVerifier
from bootstrap.records import Status
from bootstrap.scoring.verifier import Judgement, version_of

RIGHT = Judgement(status=Status.PASS, reward=1.0, breakdown={"exact": 1.0}, reason="right")
WRONG = Judgement(status=Status.FAIL, reward=0.0, breakdown={"exact": 0.0}, reason="wrong")
TRUNCATED = Judgement(status=Status.FAIL, reward=0.0, breakdown={"exact": 0.0}, reason="truncated")


class ExactMatch:
    """Compares text; `strip` ignores white space around the answer."""

    name = "exact"

    def __init__(self, settings: ExactVerifier) -> None:
        self.version = version_of(__name__, settings=settings)
        self._strip = settings.strip

    def judge(self, text: str, *, reference: str, truncated: bool) -> Judgement:
        if truncated:
            return TRUNCATED
        answer = text.strip() if self._strip else text
        return RIGHT if answer == reference else WRONG
