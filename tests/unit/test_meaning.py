"""What a version is made of: what code means, as far as a verifier uses it."""

import ast
import hashlib
import importlib
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap import meaning
from bootstrap.config.answers import ChoiceVerifier, ExactVerifier, LanguageVerifier, RandomVerifier
from bootstrap.config.verifiers import PluginVerifier
from bootstrap.meaning import meaning_of
from bootstrap.scoring.verifier import build_verifier

ROOT = """
from shared import compare, Loose
import helpers
LIMIT = 5

def verify(text: str, *, reference: str) -> bool:
    '''Whether they are equal.'''
    # A comment.
    return compare(text, reference) and len(text) < LIMIT and helpers.fine(text)
"""
SHARED = """
'''What several share.'''
FOLD = True
UNUSED = 1

class Loose:
    '''A class.'''
    def __eq__(self, other):
        return True

def _folded(text):
    return text.casefold() if FOLD else text

def compare(a, b):
    return _folded(a) == _folded(b)

def other(a):
    return a * UNUSED
"""
HELPERS = "def fine(text):\n    return bool(text)\n\ndef rough(text):\n    return False\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def measured(folder: Path, *, root: str = ROOT, shared: str = SHARED, helpers: str = HELPERS) -> str:
    for name, source in {"checks": root, "shared": shared, "helpers": helpers}.items():
        (folder / f"{name}.py").write_text(source)
    importlib.invalidate_caches()
    return meaning_of("checks", follow=lambda module: module in ("shared", "helpers"))


@pytest.mark.parametrize(
    "edit",
    [
        {"root": ROOT.replace("# A comment.", "# Another one,\n    # longer.")},
        {"root": ROOT.replace("Whether they are equal.", "Whether it is right.")},
        {"root": ROOT.replace("'''Whether they are equal.'''\n", "\n")},
        {"root": ROOT.replace("text: str, *, reference: str) -> bool", "text, *, reference)")},
        {"root": ROOT.replace("LIMIT = 5", "LIMIT = (\n    5\n)")},
        {"root": ROOT.replace("LIMIT = 5", "LIMIT = 5\n'''Most characters.'''")},
        {
            "root": ROOT.replace(
                "from shared import compare, Loose\nimport helpers", "import helpers\nfrom shared import compare"
            )
        },
        {"shared": SHARED.replace("'''A class.'''", "'''The class.'''\n    # which is loose")},
        {"shared": SHARED.replace("UNUSED = 1", "UNUSED = 2")},
        {"shared": SHARED.replace("return a * UNUSED", "return a")},
        {"shared": SHARED.replace("        return True", "        return False")},
        {"shared": SHARED.replace("'''What several share.'''", "")},
        {"helpers": HELPERS.replace("return False", "return True")},
        {"helpers": "\n".join(reversed(HELPERS.split("\n\n")))},
    ],
)
def test_what_changes_no_verdict_changes_no_meaning(folder: Path, edit: dict[str, str]) -> None:
    assert measured(folder, **edit) == measured(folder)


@pytest.mark.parametrize(
    "edit",
    [
        {"root": ROOT.replace("LIMIT = 5", "LIMIT = 6")},
        {"root": ROOT.replace("LIMIT = 5", "LIMIT = 5.0")},
        {"root": ROOT.replace("LIMIT = 5", "LIMIT = '5'")},
        {"root": ROOT.replace("< LIMIT", "<= LIMIT")},
        {"root": ROOT.replace(" and helpers.fine(text)", " and helpers.rough(text)")},
        {"root": ROOT.replace("*, reference: str", "*, reference: str = ''")},
        {"root": ROOT + "\nprint('loaded')\n"},
        {"shared": SHARED.replace("FOLD = True", "FOLD = False")},
        {"shared": SHARED.replace("casefold", "lower")},
        {"shared": SHARED + "\ncompare = _folded\n"},
        {"shared": SHARED + "\nif FOLD:\n    _folded = str.lower\n"},
        {"helpers": HELPERS.replace("bool(text)", "len(text) > 1")},
    ],
)
def test_what_may_change_a_verdict_changes_the_meaning(folder: Path, edit: dict[str, str]) -> None:
    assert measured(folder, **edit) != measured(folder)


def test_a_name_is_followed_through_whatever_hands_it_on(folder: Path) -> None:
    def through(*, last: str) -> str:
        package = folder / "chain"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("from .middle import check\n")
        (package / "middle.py").write_text("from chain.last import *\n")
        (package / "last.py").write_text(last)
        (folder / "checks.py").write_text("import chain\n\ndef verify(text):\n    return chain.check(text)\n")
        importlib.invalidate_caches()
        return meaning_of("checks", follow=lambda module: module.startswith("chain"))

    source = "def check(text):\n    return text == '4'\n"
    assert through(last=source) == through(last=f"# comment\n{source}")
    assert through(last=source) != through(last=source.replace("4", "5"))


def test_modules_that_are_not_followed_count_by_the_name_that_is_used(folder: Path) -> None:
    def importing(line: str) -> str:
        (folder / "checks.py").write_text(f"{line}\ndef verify(text):\n    return check(text)\n")
        return meaning_of("checks")

    assert importing("from json import loads as check") != importing("from json import dumps as check")
    assert importing("from json import loads as check") == importing("from json import dumps, loads as check")


def test_a_module_without_a_source_is_said_to_be_so() -> None:
    with pytest.raises(OSError, match="the source of math cannot be read"):
        meaning_of("math")


@given(st.text(max_size=20))
def test_a_text_is_written_alike_whatever_it_holds(text: str) -> None:
    written = meaning._part(ast.parse(f"x = {text!r}").body).text
    assert written.isascii()
    assert written == meaning._part(ast.parse(f"x = (\n  {text!a}  # comment\n)").body).text


def test_pieces_of_an_f_string_are_one_text_however_they_are_parted() -> None:
    one, parted = ("x = f'a{b}c {{d}}'", "x = f'a{b}' 'c ' f'{{d}}'")
    assert meaning._part(ast.parse(one).body).text == meaning._part(ast.parse(parted).body).text


def test_a_text_of_known_syntax_is_the_same_under_every_python() -> None:
    source = """
    @decorated(1, key=None)
    def f(a, /, b=1, *args, c, d=2, **rest):
        match a:
            case {"x": [1, *_], **others} if b:
                return f"{a!r:>{b}} {{}} é" "tail"
        return [x async for x in y if x is not ...], {**rest}, 1j, b"\\xff", -1
    """
    written = meaning._part(ast.parse(textwrap.dedent(source)).body)
    assert hashlib.sha256(written.text.encode()).hexdigest()[:16] == "9f8ff65735f1d069"


def versions() -> dict[str, str]:
    return {
        settings.type: build_verifier(settings).version
        for settings in (ExactVerifier(), ChoiceVerifier(), RandomVerifier(), LanguageVerifier())
    }


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch):
    """Return the versions as they are with one text of one of this program's modules replaced by another."""
    real = meaning._source

    def edit(module: str, old: str, new: str) -> dict[str, str]:
        source = real(module)
        assert source is not None and old in source, f"{module} has no {old!r}"
        monkeypatch.setattr(meaning, "_source", lambda name: source.replace(old, new) if name == module else real(name))
        found = versions()
        monkeypatch.setattr(meaning, "_source", real)
        return found

    return edit


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_verifiers_versions_follow_what_they_share_as_far_as_they_use_it(edited) -> None:
    before = versions()
    shared = "bootstrap.scoring.verifier"
    assert changed(before, edited(shared, 'WRONG = "wrong"', 'WRONG = "not right"')) == {
        "exact",
        "choice",
        "language",
        "random",
    }
    assert not changed(before, edited(shared, "REASONS_SHOWN = 3", "REASONS_SHOWN = 4"))
    new = 'class NewVerifier(VerifierSettings):\n    built_by = "bootstrap.scoring.new:New"\n\n\nclass ExactVerifier'
    assert not changed(before, edited("bootstrap.config.answers", "class ExactVerifier", new))
    assert not changed(before, edited(shared, '"""Return a FAIL of', '"""Give a FAIL of'))
    assert not changed(before, edited(shared, "    processes: int = 1", "    processes: int = 2"))
    assert changed(before, edited("bootstrap.seeds", "sha256", "sha512")) == {"random"}
    assert changed(before, edited("bootstrap.config.answers", '"Greek": "el"', '"Greek": "el he"')) == {"language"}
    assert not changed(before, edited("bootstrap.config.answers", "    strip: bool = False", "    strip: bool = True"))


@pytest.mark.usefixtures("own_plugins")
def test_a_plugins_version_follows_its_neighbours_and_not_its_comments(folder: Path) -> None:
    def version(*, own: str = "", neighbour: str = "return text.strip()", far: str = "1") -> str:
        (folder / "mine.py").write_text(
            "from near import cleaned\nfrom library.deep import N\n"
            f"def verify(text, *, reference, prompt):\n    {own}\n    return cleaned(text) == reference * N\n"
        )
        (folder / "near.py").write_text(f"def cleaned(text):\n    {neighbour}\n")
        (folder / "site" / "library").mkdir(parents=True, exist_ok=True)
        (folder / "site" / "library" / "deep.py").write_text(f"N = {far}\n")
        for name in ("mine", "near", "library", "library.deep"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return build_verifier(PluginVerifier(uses="mine:verify")).version

    sys.path.insert(0, str(folder / "site"))
    try:
        first = version()
        assert version(own="# what it does") == version(own='"""What it does."""') == first
        assert version(own="text = text[:9]") != first
        assert version(neighbour="return text.rstrip()") != first
        assert version(neighbour='"""Strip."""\n    return text.strip()  # both sides') == first
        assert version(far="2") == first, "what lies elsewhere is a library's, whose version is the user's to pin"
    finally:
        sys.path.remove(str(folder / "site"))
        for name in ("mine", "near", "library", "library.deep"):
            sys.modules.pop(name, None)
