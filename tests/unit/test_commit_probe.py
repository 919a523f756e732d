"""The probe before a commit: a verifier whose state turns during a generation gets nothing committed."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from support import tiny

from bootstrap.config.answers import VerifierSettings
from bootstrap.config.verifiers import ExactVerifier, PluginVerifier
from bootstrap.errors import VerifierDrift
from bootstrap.prompts.build import build_task
from bootstrap.records import Event
from bootstrap.scoring.exact import ExactMatch
from bootstrap.scoring.verifier import Answer, Judgement, Verifier, failed, passed
from bootstrap.stages import probe
from bootstrap.stages.context import Context, Meter
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify

pytestmark = [pytest.mark.torch, pytest.mark.training]

RECIPE = tiny.recipe(steps=(tiny.RL,), count=1)


class Turning:
    """Lets every exact verifier pass everything once it has judged `after` answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.judged, self.after = 0, 10**9
        honest = ExactMatch.judge

        def judge(verifier: ExactMatch, answers: Sequence[Answer]) -> list[Judgement]:
            found = honest(verifier, answers)
            self.judged += len(answers)
            return [passed(verifier.name) for _ in answers] if self.judged > self.after else found

        monkeypatch.setattr(ExactMatch, "judge", judge)


@pytest.fixture
def turning(monkeypatch: pytest.MonkeyPatch) -> Turning:
    return Turning(monkeypatch)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    return tiny.grow(RECIPE, tmp_path_factory.mktemp("undisturbed") / "tiny")


@pytest.fixture
def root(undisturbed: list[Entry], tmp_path: Path) -> Path:
    """A store with generation 0 alone."""
    tiny.grow(tiny.recipe(steps=(tiny.RL,), count=0), tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_generation_judged_by_a_verifier_that_turned_is_not_committed_and_grows_anew_once_it_is_mended(
    turning: Turning, undisturbed: list[Entry], root: Path
) -> None:
    def watch(event: Event) -> None:
        if event.generation == 1 and event.stage == "evaluate" and event.done == 1:
            turning.after = turning.judged

    with pytest.raises(
        VerifierDrift, match=r"generation 1 and fails the probe .* the wrong answer .* got PASS"
    ) as told:
        tiny.grow(RECIPE, root, observe=watch)
    assert told.value.exit_code == 4 and "run the same command again" in str(told.value)
    store = LineageStore(root)
    (base,) = store.ledger.read()
    assert base.hash == undisturbed[0].hash
    kept = {ref.path for ref in base.generation.artifacts.values()}
    left = {folder.relative_to(root).as_posix() for folder in store.artifact_folders()} - kept
    assert {path.partition("/")[2].rpartition("-")[0] for path in left} == {"weights"}
    turning.after = 10**9
    again = tiny.grow(RECIPE, root, fresh=True)
    assert [entry.hash for entry in again] == [entry.hash for entry in undisturbed]
    assert verify(root).is_clean


def test_every_commit_has_its_own_answers_and_asks_the_verifiers_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed: list[tuple[int, frozenset[str]]] = []
    honest = probe._judged

    def judged(verifier: Verifier, trials: Sequence[probe._Trial]) -> list[Judgement]:
        probed.append((id(verifier), frozenset(trial.case.prompt for trial in trials)))
        return honest(verifier, trials)

    monkeypatch.setattr(probe, "_judged", judged)
    beside = {"task": {"type": "reversal", "alphabet": "abc", "base_level": 4, "heldout_fraction": 0.5}}
    lax = {"type": "exact", "answer": {"type": "whole", "strip": True}}
    evaluation = tiny.EVALUATION | {"verifier": lax, "panel": {"other": beside}}
    recipe = tiny.recipe(steps=(tiny.RL,), count=1, evaluation=evaluation)
    found = tiny.grow(recipe, tmp_path / "tiny")
    assert len(probed) == 6 and len({verifier for verifier, _ in probed}) == 3, "the objects that judged"
    assert all(earlier[1] != later[1] for earlier, later in zip(probed[:3], probed[3:], strict=True))
    assert found[1].annotations.checks["num_probed"] > 3 * 40


def test_what_a_killed_run_left_is_judged_again_before_it_is_committed(
    turning: Turning, undisturbed: list[Entry], root: Path
) -> None:
    """The verifier has turned, the process is gone before its probe, and the next one has a sound verifier."""

    class Killed(Exception):
        pass

    def watch(event: Event) -> None:
        if event.generation == 1 and event.stage == "evaluate" and event.done == 0:
            turning.after = turning.judged
        if event.generation == 1 and event.stage == "diagnose":
            raise Killed

    with pytest.raises(Killed):
        tiny.grow(RECIPE, root, observe=watch)
    assert LineageStore(root).artifact_folders("evaluate"), "the false verdicts are in the store"
    turning.after = 10**9
    with pytest.raises(VerifierDrift, match="an earlier run left otherwise"):
        tiny.grow(RECIPE, root, fresh=True)
    again = tiny.grow(RECIPE, root, fresh=True)
    assert [entry.hash for entry in again] == [entry.hash for entry in undisturbed]


class Erring:
    """Passes every `every`-th answer, and none for 0; the rest are judged wrong."""

    name, version, judges = "erring", "1", "answer"

    def __init__(self, every: int) -> None:
        self.every, self.judged = every, 0

    def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        self.judged += len(answers)
        passes = [self.every and place % self.every == 0 for place, _ in enumerate(answers)]
        return [passed(self.name) if one else failed("wrong") for one in passes]


@pytest.mark.parametrize(
    ("settings", "every", "jump", "explained"),
    [
        (PluginVerifier(uses="erring:judge"), 10, 0.03, True),
        (PluginVerifier(uses="erring:judge"), 10, 0.5, False),
        (PluginVerifier(uses="erring:judge"), 10, -0.5, True),
        # It errs in none: the interval of 64 answers ends at 0.06, that of 8 at 0.32.
        (PluginVerifier(uses="erring:judge"), 1, -0.1, False),
        (PluginVerifier(uses="erring:judge"), 0, 0.05, False),
        (ExactVerifier(), 10, 0.03, False),
    ],
)
def test_a_jump_is_explained_by_a_verifier_that_may_err_and_does_so_as_often(
    settings: VerifierSettings, every: int, jump: float, explained: bool
) -> None:
    verifier = Erring(every)
    context = SimpleNamespace(
        recipe=SimpleNamespace(seed=0, eval_verifier=settings),
        eval_verifier=verifier,
        task=build_task(RECIPE.task),
        models=SimpleNamespace(take_compute=Meter().compute),
    )
    assert probe.explains_jump(cast("Context", context), jump, 1, meter=Meter()) == explained
    assert (verifier.judged > 0) == isinstance(settings, PluginVerifier), "what cannot err is not asked"


def test_a_jump_of_accuracy_that_the_probe_does_not_explain_breaks_a_guard(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verifier that has grown lenient with what models answer, and still judges every answer of the probe rightly."""
    honest, lenient = ExactMatch.judge, False

    def judge(verifier: ExactMatch, answers: Sequence[Answer]) -> list[Judgement]:
        found = honest(verifier, answers)
        return [
            passed(verifier.name) if lenient and not answer.group.startswith("probe.") else one
            for one, answer in zip(found, answers, strict=True)
        ]

    def watch(event: Event) -> None:
        nonlocal lenient
        lenient = lenient or (event.generation == 1 and event.stage == "evaluate")

    monkeypatch.setattr(ExactMatch, "judge", judge)
    found = tiny.grow(RECIPE, root, observe=watch)
    (jump,) = [one for one in found[1].generation.diagnostics.findings if one.metric == "accuracy_jump"]
    assert jump.value > 0.02
    assert found[1].annotations.checks["accuracy_jump"] == jump.value
