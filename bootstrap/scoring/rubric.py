"""Several verifiers, one reward. For components with rewards `r_i` and weights `w_i`:

    sum       sum(w_i r_i) / sum(w_i)      with positive weights between the least and the greatest `r_i`
    product   prod(r_i)
    gate      the same mean where every deciding component says PASS, otherwise 0

PASS needs the PASS of every deciding component. An answer that one component cannot judge is UNVERIFIABLE: a mean over
the others would be another reward. The breakdown holds each component's reward by its name, a nested rubric's by dotted
names.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from math import prod

from bootstrap.config.verifiers import Component, RubricVerifier
from bootstrap.records import Status
from bootstrap.scoring.verifier import Answer, Judgement, Tools, Verifier, build_verifier, version_of


class Rubric:
    """Gives each component all answers, once."""

    name = "rubric"

    def __init__(self, settings: RubricVerifier, tools: Tools) -> None:
        """Raise VerifierError when what a component needs is missing."""
        self.judges = settings.judges
        self._settings = settings
        self._verifiers: list[Verifier] = []
        with ExitStack() as built:
            for component in settings.components:
                verifier = build_verifier(component.verifier, tools=tools)
                built.callback(verifier.close)
                self._verifiers.append(verifier)
            # All are built, so `close` closes them.
            built.pop_all()
        versions = ",".join(verifier.version for verifier in self._verifiers)
        self.version = version_of(__name__, settings=settings, also=versions)

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        by_component = [verifier.judge(answers) for verifier in self._verifiers]
        return [self._combined(judgements) for judgements in zip(*by_component, strict=True)]

    def components(self) -> Iterator[tuple[Component, Verifier]]:
        """Yield each component's settings with its verifier."""
        yield from zip(self._settings.components, self._verifiers, strict=True)

    def close(self) -> None:
        for verifier in self._verifiers:
            verifier.close()

    def _combined(self, judgements: Sequence[Judgement]) -> Judgement:
        """Return one judgement from those of the components, in their order."""
        components = self._settings.components
        breakdown: dict[str, float] = {}
        rewards: list[float] = []
        told: list[str] = []
        for component, judgement in zip(components, judgements, strict=True):
            if judgement.status is not Status.PASS:
                told.append(f"{component.name}: {judgement.reason}")
            if judgement.reward is not None:
                rewards.append(judgement.reward)
                breakdown[component.name] = judgement.reward
            if component.verifier.type == "rubric":
                breakdown |= {f"{component.name}.{name}": reward for name, reward in judgement.breakdown.items()}
        passes = all(j.status is Status.PASS for c, j in zip(components, judgements, strict=True) if c.decides)
        judged = len(rewards) == len(components)
        status = Status.UNVERIFIABLE if not judged else Status.PASS if passes else Status.FAIL
        return Judgement(
            status=status,
            reward=self._reward(rewards, passes=passes) if judged else None,
            breakdown=breakdown if judged else {},
            reason="; ".join(told) or "right",
            sandbox=", ".join(dict.fromkeys(j.sandbox for j in judgements if j.sandbox)),
            cpu_seconds=sum(j.cpu_seconds for j in judgements),
        )

    def _reward(self, rewards: Sequence[float], *, passes: bool) -> float:
        weights = [component.weight for component in self._settings.components]
        match self._settings.combine:
            case "product":
                return prod(rewards)
            case "gate" if not passes:
                return 0.0
            case _:
                return sum(w * r for w, r in zip(weights, rewards, strict=True)) / sum(weights)
