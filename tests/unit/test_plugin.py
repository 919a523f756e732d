"""A verifier of the user's own: how it is found, what it may return, and that its defects are named."""

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bootstrap.config.verifiers import PluginVerifier
from bootstrap.errors import VerifierError
from bootstrap.records import Status
from bootstrap.scoring.verifier import Answer, Judgement, Verifier, build_verifier

pytestmark = pytest.mark.usefixtures("own_plugins")

OURS = "support.plugin_verifiers"


def plugin(uses: str, **settings: Any) -> Verifier:
    return build_verifier(PluginVerifier(uses=uses, settings=settings))


def judged(verifier: Verifier, text: str, **more: Any) -> Judgement:
    [judgement] = verifier.judge([Answer(prompt="?", text=text, reference="4", **more)])
    return judgement


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty current folder; the import path and what is imported are put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("mine", "json"):
        if name in sys.modules:
            monkeypatch.setitem(sys.modules, name, sys.modules[name])
    yield tmp_path
    sys.modules.pop("mine", None)


@pytest.mark.parametrize(
    ("value", "status", "reward"),
    [
        (True, Status.PASS, 1.0),
        (False, Status.FAIL, 0.0),
        (1.0, Status.PASS, 1.0),
        (1, Status.PASS, 1.0),
        (2.5, Status.PASS, 2.5),
        (0.99, Status.FAIL, 0.99),
        (0, Status.FAIL, 0.0),
        (-1.5, Status.FAIL, -1.5),
        ([True, 0.5], Status.PASS, 0.5),
        ([False, 0.5], Status.FAIL, 0.5),
        ([True, 1], Status.PASS, 1.0),
        (None, Status.UNVERIFIABLE, None),
    ],
)
def test_what_the_function_returns_is_the_verdict(value: Any, status: Status, reward: float | None):
    judgement = judged(plugin(f"{OURS}:returns", value=value), "4")
    assert (judgement.status, judgement.reward) == (status, reward)
    assert judgement.breakdown == ({} if reward is None else {"plugin": reward})
    assert type(judgement.reward) is (float if reward is not None else type(None))


@pytest.mark.parametrize("value", ["PASS", {}, {"passed": True}, [], [1, 0.5], [True], [True, "1"], [True, True, 1.0]])
def test_anything_else_that_it_returns_stops_the_run_with_its_name(value: Any):
    with pytest.raises(VerifierError, match=f"{OURS}:returns returned .*must return True or False"):
        judged(plugin(f"{OURS}:returns", value=value), "4")


@pytest.mark.parametrize("kind", ["nan", "inf", "huge"])
def test_a_reward_that_is_not_finite_stops_the_run(kind: str):
    with pytest.raises(VerifierError, match="finite reward"):
        judged(plugin(f"{OURS}:not_finite", kind=kind), "4")


def test_a_value_error_is_no_verdict_and_anything_else_stops_the_run():
    careful = plugin(f"{OURS}:careful")
    assert judged(careful, "4").status is Status.PASS
    doubt = judged(careful, "4?")
    assert (doubt.status, doubt.reason) == (Status.UNVERIFIABLE, f"{OURS}:careful: a question is no answer")
    with pytest.raises(VerifierError, match=f"{OURS}:clumsy raised KeyError: 'x'; mend it"):
        judged(plugin(f"{OURS}:clumsy"), "x")


def test_a_truncated_answer_never_reaches_the_function():
    assert judged(plugin(f"{OURS}:returns", value="nonsense"), "4", truncated=True).status is Status.FAIL


def test_settings_reach_the_function():
    assert judged(plugin(f"{OURS}:same"), " 4").status is Status.FAIL
    assert judged(plugin(f"{OURS}:same", strip=True), " 4").status is Status.PASS


@pytest.mark.parametrize(
    ("uses", "settings", "remedy"),
    [
        ("no_such_module_here:verify", {}, "cannot be imported.*install it, or start where no_such_module_here lies"),
        (f"{OURS}:missing", {}, "no function missing; write it there as verify"),
        (f"{OURS}:TALE", {}, "no function TALE"),
        (f"{OURS}:forgetful", {}, "cannot be called.*a parameter for each"),
        (f"{OURS}:same", {"strict": True}, "cannot be called.*'strict'"),
        (f"{OURS}:same", {"reference": "4"}, "cannot be called.*reference"),
        ("no.such.entry", {}, "no installed package offers.*module:function"),
        ("math:sqrt", {}, "cannot be called"),
        ("builtins:dict", {}, "cannot be looked at|no function that can be looked at|source"),
    ],
)
def test_a_function_that_cannot_serve_is_refused_with_the_remedy(uses: str, settings: dict, remedy: str):
    with pytest.raises(VerifierError, match=remedy):
        plugin(uses, **settings)


def test_a_function_may_say_what_it_reads():
    verifier = plugin(f"{OURS}:digits", least=2)
    assert verifier.is_reader
    assert verifier.reads(["42", "4", "four"]) == ["", "no digits", "no digits"]
    silent = plugin(f"{OURS}:same")
    assert not silent.is_reader and silent.reads(["four"]) == [""]


@pytest.mark.parametrize(
    ("says", "told"), [("nothing", "returned a NoneType"), ("truth", "returned a bool"), ("more", "raised KeyError")]
)
def test_what_is_no_word_on_a_reference_stops_the_run_with_the_function_s_name(says: str, told: str):
    with pytest.raises(VerifierError, match=f"reads of the verifier {OURS}:vague {told}.* can be judged"):
        plugin(f"{OURS}:vague", says=says).reads(["4"])


def test_a_reads_that_cannot_be_called_is_refused_with_the_remedy():
    with pytest.raises(VerifierError, match=r"reads of .*:blind cannot be called.*reads\(reference, \*\*settings\)"):
        plugin(f"{OURS}:blind")


def test_a_module_that_is_no_python_is_refused(folder: Path):
    (folder / "mine.py").write_text("def verify(:\n")
    with pytest.raises(VerifierError, match="cannot be imported"):
        plugin("mine:verify")


def test_a_module_in_the_current_folder_is_found(folder: Path):
    (folder / "mine.py").write_text("def verify(text, *, reference, prompt):\n    return text == reference + prompt\n")
    assert judged(plugin("mine:verify"), "4?").status is Status.PASS


def test_the_current_folder_hides_no_installed_module(folder: Path):
    (folder / "json.py").write_text("def verify(text, *, reference, prompt):\n    return True\n")
    sys.modules.pop("json")
    with pytest.raises(VerifierError, match="json has no function verify"):
        plugin("json:verify")


def test_the_version_follows_the_source_and_the_settings(folder: Path):
    source = "def verify(text, *, reference, prompt, level=1):\n    return {}\n"
    versions = []
    for answer, settings in (("True", {}), ("True", {}), ("False", {}), ("False", {"level": 2})):
        sys.modules.pop("mine", None)
        (folder / "mine.py").write_text(source.format(answer))
        importlib.invalidate_caches()
        __import__("linecache").clearcache()
        versions.append(plugin("mine:verify", **settings).version)
    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


def test_an_entry_point_of_an_installed_package_is_found(folder: Path):
    package = folder / "site/mine-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[bootstrap.verifiers]\nfours = mine:verify\n")
    (folder / "site/mine.py").write_text("def verify(text, *, reference, prompt):\n    return text == '4'\n")
    sys.path.insert(0, str(folder / "site"))
    importlib.invalidate_caches()
    assert judged(plugin("fours"), "4").status is Status.PASS
    with pytest.raises(VerifierError, match=r"entry points bootstrap.verifiers: fours"):
        plugin("fives")


@pytest.mark.parametrize("uses", ["", "a b", "a:b:c", "a:b()", "../a:b", "a:", ":b", "1a:b"])
def test_a_name_is_a_module_and_a_function_or_an_entry_point(uses: str):
    with pytest.raises(ValidationError):
        PluginVerifier(uses=uses)
