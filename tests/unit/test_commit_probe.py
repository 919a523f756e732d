"""The probe before a commit: a verifier whose state turns during a generation gets nothing committed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support import tiny

from bootstrap.errors import VerifierDrift
from bootstrap.records import Event
from bootstrap.scoring.exact import ExactMatch
from bootstrap.scoring.verifier import Answer, Judgement, passed
from bootstrap.store.ledger import Entry
from bootstrap.store.lineage_store import LineageStore
from bootstrap.store.verify import verify

pytestmark = [pytest.mark.torch, pytest.mark.training]

RECIPE = tiny.recipe(steps=(tiny.RL,), count=1)
AT_ONCE = 300
"""Answers after which the verifier turns: in generation 1's evaluation."""


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


def test_a_generation_judged_by_a_verifier_that_turned_is_not_committed_and_grows_anew_once_it_is_mended(
    turning: Turning, undisturbed: list[Entry], tmp_path: Path
) -> None:
    root = tmp_path / "tiny"

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


def test_each_commit_is_probed_with_other_answers(turning: Turning, tmp_path: Path, monkeypatch) -> None:
    pass
