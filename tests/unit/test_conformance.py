"""Every verifier stands the conformance suite, and the suite sees what it is there to see."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.verifier_cases import SETUPS, Setup, case

from bootstrap.config.answers import Boxed, Judges
from bootstrap.config.base import types_of
from bootstrap.config.verifiers import ExactVerifier, PluginVerifier, Verifier
from bootstrap.records import Status
from bootstrap.scoring.conformance import ConformanceResult, check
from bootstrap.scoring.verifier import AnswerVerifier, Judgement, build_verifier, failed, passed

FOUR = (case("4", "5"),)
LIGHT = ("exact", "numeric", "choice", "regex", "format", "language", "length", "json_schema", "plugin", "rubric")


def prepared(name: str, folder: Path) -> AbstractContextManager[Setup]:
    setup = SETUPS[name]
    return nullcontext(setup) if isinstance(setup, Setup) else setup(folder)


def plugin(name: str) -> list[ConformanceResult]:
    settings = PluginVerifier(uses=f"support.plugin_verifiers:{name}")
    return check(build_verifier(settings), FOUR, settings=settings)


def bad(findings: list[ConformanceResult]) -> set[str]:
    return {finding.case for finding in findings if not finding.ok}


def test_every_type_of_verifier_has_a_setup():
    # A coin is right about nothing; what it must stand is tested apart (test_random_reward.py). Verifiers by task are
    # those of the parts, and `bootstrap verifier check` goes through them part by part (test_mixture.py).
    assert {name.partition(":")[0] for name in SETUPS} == set(types_of(Verifier.__origin__)) - {"random", "by_task"}


@pytest.mark.usefixtures("own_plugins")
@pytest.mark.sandbox
@pytest.mark.parametrize("name", SETUPS)
def test_every_verifier_stands_the_conformance_suite(name: str, tmp_path: Path):
    with prepared(name, tmp_path) as setup:
        verifier = build_verifier(setup.settings, tools=setup.tools)
        try:
            findings = check(verifier, setup.cases, settings=setup.settings)
        finally:
            verifier.close()
            verifier.close()
    assert verifier.name == setup.settings.type
    assert len(verifier.version) == 16
    assert verifier.judges == setup.settings.judges
    assert [finding for finding in findings if not finding.ok] == []
    assert {"nothing", "lone surrogates", "all in reverse order"} <= {finding.case for finding in findings}


@pytest.mark.usefixtures("own_plugins")
def test_equal_settings_have_equal_versions_and_other_settings_other_ones():
    # Those that start no process and load no model.
    light = [setup for name, setup in SETUPS.items() if name.partition(":")[0] in LIGHT and isinstance(setup, Setup)]
    versions = [[build_verifier(setup.settings, tools=setup.tools).version for setup in light] for _ in range(2)]
    assert versions[0] == versions[1]
    assert len(set(versions[0])) == len(light) > len(LIGHT)


@dataclass
class Doubtful(AnswerVerifier):
    """A verifier of fours with one flaw, by name."""

    flaw: str
    name = "doubtful"
    version = "0"
    judges: Judges = "answer"
    seen: int = field(default=0, init=False)

    def judge_one(self, answer):
        self.seen += 1
        right = answer.text == answer.reference
        if self.flaw == "moody" and not right:
            return failed(self.name, reward=self.seen / 1e6)
        if self.flaw == "generous" and not right:
            return failed(self.name, reward=1.0)
        if self.flaw == "ignores the cut":
            return passed(self.name) if right else failed(self.name)
        if self.flaw == "no breakdown":
            return replace(passed(self.name), breakdown={})
        if self.flaw == "not finite":
            return failed(self.name, reward=float("nan"))
        if self.flaw == "silent":
            return passed(self.name, "") if right else failed(self.name, "")
        if self.flaw == "reversed":
            return failed(self.name) if right else passed(self.name)
        return passed(self.name) if right and not answer.truncated else failed(self.name)


def test_a_verifier_without_a_flaw_has_no_bad_finding():
    assert bad(check(Doubtful(flaw="none"), FOUR)) == set()


@pytest.mark.parametrize(
    ("flaw", "expected"),
    [
        ("moody", {"all in one batch", "all in one batch, again", "all in reverse order"}),
        ("generous", {"nothing", "PASSED", "the wrong answer '5'"}),
        ("ignores the cut", {"the right answer, cut by the length limit"}),
        ("no breakdown", {"the right answer '4'"}),
        ("not finite", {"the wrong answer '5'"}),
        ("silent", {"the right answer '4'", "nothing"}),
        ("reversed", {"the right answer '4'", "the wrong answer '5'", "nothing"}),
    ],
)
def test_the_suite_finds_each_flaw(flaw: str, expected: set[str]):
    found = bad(check(Doubtful(flaw=flaw), FOUR))
    assert expected <= found
    assert flaw != "ignores the cut" or found == expected


@pytest.mark.usefixtures("own_plugins")
def test_a_verifier_that_looks_for_the_answer_anywhere_is_caught():
    assert {"the right answer inside other text", "the right answer and each wrong one"} <= bad(plugin("within"))


@pytest.mark.usefixtures("own_plugins")
def test_what_a_verifier_raises_is_a_finding():
    findings = plugin("clumsy")
    assert "nothing" in bad(findings)
    [nothing] = [finding for finding in findings if finding.case == "nothing"]
    assert nothing.status is None
    assert "KeyError" in nothing.reason


def test_a_second_equal_box_is_the_right_answer_where_boxes_are_asked_for_and_nowhere_else():
    settings = ExactVerifier(answer=Boxed())
    cases = (case("4", right=r"\boxed{4}"),)
    verifier = build_verifier(settings)
    [boxes] = [finding for finding in check(verifier, cases, settings=settings) if finding.case == "two boxes"]
    assert (boxes.status, boxes.ok) == (Status.PASS, True)
    assert "two boxes" in bad(check(verifier, cases))


@dataclass
class Short(AnswerVerifier):
    """Loses a judgement."""

    name = "short"
    version = "0"
    judges: Judges = "answer"

    def judge_one(self, answer):
        return failed(self.name)

    def judge(self, answers) -> list[Judgement]:
        return super().judge(answers)[1:]


def test_a_missing_judgement_is_a_finding():
    assert all(not finding.ok for finding in check(Short(), FOUR))
