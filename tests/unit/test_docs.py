"""What the documentation says, held against the repository: links, anchors, commands, recipes, names.

Left out: whether the pages can be built (`make docs`, strictly), and whether figures are what their commands print.
"""

import ast
import contextlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import yaml
from typer.main import get_command

from bootstrap.cli.main import app
from bootstrap.config.algorithms import Algorithm, RoleRelative
from bootstrap.config.base import types_of
from bootstrap.config.generations import Curriculum
from bootstrap.config.load import json_schema, load_recipe
from bootstrap.config.recipe import Recipe
from bootstrap.config.steps import Step
from bootstrap.config.tasks import Task
from bootstrap.config.verifiers import Verifier
from bootstrap.schema import RENAMED_SETTINGS

ROOT = Path(__file__).parents[2]
ELSEWHERE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "infra/README.md", "examples/README.md")
MOST_LINES = 130
EVERYWHERE = {"--help", "-h", "--debug", "--version"}
"""Options of every command."""


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


GENERATE = generator()
GENERATED = {f"docs/{place}": text for place, text in GENERATE.pages().items()}
WRITTEN = {
    place: (ROOT / place).read_text(encoding="utf-8")
    for place in (*ELSEWHERE, *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")))
}
PAGES = WRITTEN | GENERATED
"""Path from the repository's root -> Markdown."""


class Block(NamedTuple):
    page: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:\n{self.text}"


class Command(NamedTuple):
    page: str
    words: tuple[str, ...]
    folder: Path
    """Where it is given."""

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


# --- reading Markdown ----------------------------------------------------------------------------------------------

FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[Block]:
    return [
        Block(page, language, match[3])
        for page, text in PAGES.items()
        for match in FENCE.finditer(text)
        if match[2].partition(" ")[0] == language
    ]


def prose(text: str) -> str:
    """Return a page without its code."""
    return re.sub(r"(`+).*?\1", "", FENCE.sub("", text), flags=re.DOTALL)


@cache
def anchors(text: str) -> set[str]:
    """Return the anchors that headings have on the site, and, where none is given, in a repository's browser."""
    found = set()
    for heading in re.findall(r"^#+ +(.*?)\s*$", FENCE.sub("", text), re.MULTILINE):
        words, _, given = heading.partition("{#")
        found.add(given.removesuffix("}") if given else slug(words))
    return found


def slug(words: str) -> str:
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", words).strip().lower())


def links(text: str) -> Iterator[str]:
    yield from (target for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)) if not re.match(r"https?:", target))


# --- links ---------------------------------------------------------------------------------------------------------


def dead(page: str, target: str) -> bool:
    place, _, anchor = target.partition("#")
    found = (ROOT / page).parent.joinpath(place).resolve() if place else ROOT / page
    name = str(found.relative_to(ROOT))
    if name not in PAGES:
        return not found.exists() or bool(anchor)
    return bool(anchor) and anchor not in anchors(PAGES[name])


def test_every_link_leads_somewhere() -> None:
    found = [(page, target) for page, text in PAGES.items() for target in links(text)]
    assert len(found) > 100
    assert not [(page, target) for page, target in found if dead(page, target)]


@pytest.mark.parametrize(
    ("target", "is_dead"),
    [
        ("docs/gate.md", False),
        ("docs/gate.md#how-often-it-errs", False),
        ("docs/images/lineage.png", False),
        ("docs/reference/cli.md#bootstrap-run", False),
        ("docs/gates.md", True),
        ("docs/gate.md#never", True),
        ("docs/reference/cli.md#bootstrap-walk", True),
        ("LICENSE#terms", True),
    ],
)
def test_a_link_that_leads_nowhere_is_found(target: str, is_dead: bool) -> None:
    assert dead("README.md", target) is is_dead


def test_no_page_names_a_place_on_someone_s_machine() -> None:
    assert not [page for page, text in WRITTEN.items() if re.search(r"(?<![\w/.])/(work|tmp|root|home)/", text)]


# --- what stands where ---------------------------------------------------------------------------------------------


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= MOST_LINES


def test_the_readme_has_a_line_for_every_folder() -> None:
    named = set(re.findall(r"`([\w./]+/)`", PAGES["README.md"]))
    kept = {path.parent for path in (ROOT / "bootstrap").glob("*/__init__.py")}
    folders = {f"{path.relative_to(ROOT)}/" for path in kept}
    assert folders | {"pipelines/", "infra/", "docs/", "examples/", "benchmarks/", "tests/"} <= named
    assert all((ROOT / name).is_dir() for name in named), named


def nav(entries: Any) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    for entry in entries.values() if isinstance(entries, dict) else entries if isinstance(entries, list) else ():
        yield from nav(entry)


def test_the_site_s_menu_names_every_page_and_no_other() -> None:
    named = list(nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    assert sorted(named) == sorted(page.removeprefix("docs/") for page in PAGES if page.startswith("docs/"))


@pytest.mark.parametrize(
    ("page", "union"),
    [
        ("docs/algorithms.md", Algorithm),
        ("docs/verifiers.md", Verifier),
        ("docs/recipes.md", Task),
        ("docs/recipes.md", Step),
        ("docs/recipes.md", Curriculum),
    ],
)
def test_every_kind_is_named_on_its_page(page: str, union: Any) -> None:
    kinds = types_of(get_args(union)[0])
    assert len(kinds) > 3
    rows = "".join(re.findall(r"^\| (`.*?) \|", PAGES[page], re.MULTILINE))
    assert not {kind for kind in kinds if f"`{kind}`" not in rows}


def test_the_algorithm_of_self_play_is_named_too() -> None:
    assert f"| `{RoleRelative.model_fields['type'].default}` |" in PAGES["docs/algorithms.md"]


def test_every_recipe_that_comes_along_is_named() -> None:
    named = set(re.findall(r"`(pipelines/[\w-]+\.yaml)`", PAGES["docs/recipes.md"]))
    assert named == {str(path.relative_to(ROOT)) for path in (ROOT / "pipelines").glob("*.yaml")}


@pytest.mark.parametrize("name", ["gsm8k", "word-problems"])
def test_a_recipe_that_a_page_explains_is_shown_as_it_is(name: str) -> None:
    recipe = (ROOT / "pipelines" / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"```yaml\n{recipe}```" in PAGES["docs/your-own-data.md"]


def test_the_reference_holds_every_key_and_the_words_about_it() -> None:
    page, schema = GENERATED["docs/reference/settings.md"], json_schema()
    parts = [schema, *(part for part in schema["$defs"].values() if "properties" in part)]
    keys = {key for part in parts for key in part["properties"] if key != "type"}
    assert len(keys) > 100
    assert not {key for key in keys if f"\n| `{key}` | " not in page}
    # The words that stand under a field of the settings.
    assert "`drop`: groups with equal rewards leave the batch" in page


def test_every_key_of_the_reference_has_a_meaning_and_tables_are_tables() -> None:
    page = GENERATED["docs/reference/settings.md"]
    rows = [line for line in page.splitlines() if re.match(r"\| `\w+` \| ", line)]
    assert len(rows) > 200
    assert not [row for row in rows if re.search(r"\|\s*\|$", row)]
    assert "\n| estimate | where | gradient, on policy |\n|---|---|---|\n| k1 | reward |" in page
    assert "| `options` | mapping | `{}` |" in page


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [(section, *names) for section, renamed in RENAMED_SETTINGS.items() for names in renamed.items()],
)
def test_every_renamed_key_is_named_with_its_section(section: str, old: str, new: str) -> None:
    told = {"Recipe": "the recipe itself", "rejection": "`source: {type: rejection}` of `sft`"}
    row = f"| {told.get(section, f'step `{section}`')} | `{old}` | `{new}` |"
    assert row in PAGES["docs/lineage.md"]
    names = [re.findall(r"`(\w+)`", cell) for cell in _row("CHANGELOG.md", told.get(section, f"step `{section}`"))]
    assert (old, new) in zip(*names, strict=True)


def _row(page: str, first: str) -> list[str]:
    """Return the cells after the first of a table's row."""
    [row] = [line for line in PAGES[page].splitlines() if line.startswith(f"| {first} | ")]
    return row.removeprefix(f"| {first} | ").removesuffix(" |").split(" | ")


def test_the_reference_holds_every_command_and_option() -> None:
    page = GENERATED["docs/reference/cli.md"]
    for name, command in GENERATE.commands().items():
        _, _, section = page.partition(f"\n## `{' '.join(name)}` ")
        section = section.partition("\n## ")[0]
        assert section, name
        assert not [o for each in command.params for o in each.opts if o.startswith("-") and f"`{o}`" not in section]


def test_the_python_page_names_what_there_is() -> None:
    text = PAGES["docs/reference/api.md"]
    found = re.findall(r"^::: ([\w.]+)\n(?:    options:\n      members: \[(.*?)\])?", text, re.MULTILINE)
    assert len(found) > 5
    for name, members in found:
        known, inside = defined(name)
        wanted = set(filter(None, members.split(", ")))
        assert known and wanted <= inside, (name, wanted - inside)


def defined(name: str) -> tuple[bool, set[str]]:
    """Return whether a module or a class in one exists, and the names that it defines."""
    path = ROOT.joinpath(*name.split("."))
    if path.with_suffix(".py").is_file():
        return True, names(ast.parse(path.with_suffix(".py").read_text(encoding="utf-8")))
    module = path.parent.with_suffix(".py")
    tree = ast.parse(module.read_text(encoding="utf-8")) if module.is_file() else ast.Module(body=[], type_ignores=[])
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == path.name:
            return True, names(node)
    return False, set()


def names(tree: Any) -> set[str]:
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def clicks() -> list[tuple[str, str]]:
    """Return (file, test) of each way that the page of questions says is clicked."""
    section = PAGES["docs/questions.md"].partition("{#clicks}")[2].partition("\n## ")[0]
    parts = re.split(r"^`(tests/\w+/\w+\.py)`:", section, flags=re.MULTILINE)[1:]
    listed = zip(parts[::2], parts[1::2], strict=True)
    return [(file, test) for file, text in listed for test in re.findall(r"`(test_\w+)`", text)]


def test_every_way_that_is_said_to_be_clicked_has_its_test() -> None:
    found = clicks()
    assert len(found) > 20 and {file.split("/")[1] for file, _ in found} == {"browser", "services"}
    known = {file: names(ast.parse((ROOT / file).read_text(encoding="utf-8"))) for file, _ in found}
    assert not [(file, test) for file, test in found if test not in known[file]]


# --- commands ------------------------------------------------------------------------------------------------------


def commands() -> list[Command]:
    """Return the commands of this program and of make, in blocks and in the text."""
    found = []
    for block in (*blocks("bash"), *blocks("console"), *indented()):
        folder = ROOT
        for line in block.text.replace("\\\n", " ").splitlines():
            # A line that only a shell can read, as one with an open quote, holds no command of ours.
            with contextlib.suppress(ValueError):
                for words in simple(shlex.split(line.removeprefix("$ "), comments=True)):
                    if words[0] == "cd":
                        folder = ROOT / words[1]
                    found.append(Command(block.page, tuple(words), folder))
    for page, text in WRITTEN.items():
        for span in re.findall(r"`((?:bootstrap|make) [^`]+)`", FENCE.sub("", text)):
            found += [Command(page, tuple(words), ROOT) for words in simple(shlex.split(span.replace(",", " ;")))]
    return [command._replace(words=ours(command.words)) for command in found if ours(command.words)]


def indented() -> list[Block]:
    """Return infra/README.md's blocks, which its own tests read by their indentation."""
    lines = re.findall(r"^    (.*)$", PAGES["infra/README.md"], re.MULTILINE)
    return [Block("infra/README.md", "bash", "\n".join(lines))]


def simple(words: list[str]) -> Iterator[list[str]]:
    """Yield the simple commands of a line."""
    command: list[str] = []
    for word in [*words, ";"]:
        if word in ("&&", ";", "|", "||"):
            if command:
                yield command
            command = []
        elif command or not re.match(r"^[A-Z_]+=", word):
            command.append(word)


def ours(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words from the name of this program or make on; empty for other commands."""
    if words[:3] == ("python", "-m", "bootstrap"):
        return words[2:]
    if "python" in words and words[words.index("python") :][:3] == ("python", "-m", "bootstrap"):
        return words[words.index("python") + 2 :]
    return words if words[0] in ("bootstrap", "make") else ()


COMMANDS = commands()


def wrong_with(command: Command) -> str:
    """Return what a command names that there is not; empty where there is all of it."""
    words = [word for word in command.words[1:] if word not in (">", "&")]
    if command.words[0] == "make":
        return next((f"no target or variable {w}" for w in words if not made(w)), "")
    current: Any = get_command(app)
    while hasattr(current, "commands") and words and not words[0].startswith("-"):
        if words[0] not in current.commands:
            return f"no command {words[0]}"
        current = current.commands[words.pop(0)]
    known = {o for each in current.params for o in (*each.opts, *each.secondary_opts)} | EVERYWHERE
    if unknown := [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]:
        return f"no option {unknown[0]}"
    paths = [word for word in words if word.endswith(".yaml") and (command.folder / word).is_file()]
    if missing := [w for w in words if re.match(r"(pipelines|examples)/\S+\.yaml$", w) and w not in paths]:
        return f"no recipe {missing[0]}"
    if paths and current.name in ("run", "plan", "submit"):
        load_recipe(command.folder / paths[0], [w for w in words if re.match(r"[a-z][\w.]*=", w)], check_folders=False)
    return ""


def made(word: str) -> bool:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    name, is_variable, _ = word.partition("=")
    if is_variable:
        return re.search(rf"^#?\s*{name}\b.*=", text, re.MULTILINE) is not None
    return re.search(rf"^{name}( [\w-]+)*:|^[\w -]+ {name}( [\w-]+)*:", text, re.MULTILINE) is not None


def test_commands_are_found_on_the_pages() -> None:
    used = {command.words[:2] for command in COMMANDS}
    assert len(COMMANDS) > 80
    assert {("make", "docs"), ("bootstrap", "submit"), ("bootstrap", "verifier"), ("bootstrap", "lineage")} <= used


@pytest.mark.parametrize("command", sorted(set(COMMANDS), key=str), ids=str)
def test_every_command_exists_with_its_options(command: Command) -> None:
    assert not wrong_with(command)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("make tests", "target"),
        ("make docs SPEED=2", "variable"),
        ("bootstrap grow", "command"),
        ("bootstrap verifier look", "command"),
        ("bootstrap run --quick", "option"),
        ("bootstrap plan pipelines/none.yaml", "recipe"),
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str, what: str) -> None:
    assert what in wrong_with(Command("page", tuple(line.split()), ROOT))


# --- recipes and Python --------------------------------------------------------------------------------------------

LEAST = {
    "name": "shown",
    "task": {"type": "addition", "base_level": 4},
    "base": {"steps": [{"type": "sft", "updates": 100}]},
    "generations": {"count": 2, "steps": [{"type": "rl"}]},
}
"""A recipe that parts of one are laid over."""


def recipes() -> list[Block]:
    return [block for block in blocks("yaml") if not block.page.startswith("docs/reference/")]


@pytest.mark.parametrize("block", recipes(), ids=lambda block: f"{block.page}-{block.text[:40]!r}")
def test_every_recipe_shown_loads(block: Block, tmp_path: Path) -> None:
    data = yaml.safe_load(block.text)
    assert data.keys() <= Recipe.model_fields.keys(), "write a part of a recipe from its top"
    (tmp_path / "shown.yaml").write_text(yaml.safe_dump({**LEAST, **data}), encoding="utf-8")
    load_recipe(tmp_path / "shown.yaml", check_folders=False)


def test_recipes_are_found_on_the_pages() -> None:
    assert len(recipes()) > 10
    assert any(block.page == "README.md" for block in recipes())


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: f"{block.page}-{block.text[:40]!r}")
def test_all_python_shown_is_python(block: Block) -> None:
    ast.parse(block.text)
