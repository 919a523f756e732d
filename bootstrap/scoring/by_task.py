"""A verifier for each task of a mixture; an answer is judged by its own task's (`Answer.task`)."""

from collections.abc import Sequence
from contextlib import ExitStack

from bootstrap.config.verifiers import ByTaskVerifier
from bootstrap.scoring.verifier import Answer, Judgement, Tools, Verifier, build_verifier, version_of


class ByTask:
    """Gives each verifier the answers of its task in one batch."""

    name = "by_task"

    def __init__(self, settings: ByTaskVerifier, tools: Tools) -> None:
        """Raise VerifierError when what one of the verifiers needs is missing."""
        self.judges = settings.judges
        self.parts: dict[str, Verifier] = {}
        with ExitStack() as built:
            for task, chosen in sorted(settings.tasks.items()):
                self.parts[task] = verifier = build_verifier(chosen, tools=tools)
                built.callback(verifier.close)
            # All are built, so `close` closes them.
            built.pop_all()
        versions = ",".join(verifier.version for verifier in self.parts.values())
        self.version = version_of(__name__, settings=settings, also=versions)

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        places: dict[str, list[int]] = {}
        for place, answer in enumerate(answers):
            assert answer.task in self.parts, f"an answer of task {answer.task!r} was given to {self.name}"
            places.setdefault(answer.task, []).append(place)
        found: dict[int, Judgement] = {}
        for task, own in places.items():
            found |= zip(own, self.parts[task].judge([answers[place] for place in own]), strict=True)
        return [found[place] for place in range(len(answers))]

    def close(self) -> None:
        for verifier in self.parts.values():
            verifier.close()
