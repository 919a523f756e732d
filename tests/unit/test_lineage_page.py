"""The files of the lineage page: they become one, and style, script and structure name the same things."""

import re
from collections import Counter
from pathlib import Path

import pytest
from support.styles import declarations, problems, selectors

from bootstrap.lineage.page import inline

FOLDER = Path(inline.__file__).parent
STRUCTURE = (FOLDER / "page.html").read_text(encoding="utf-8")
STYLE = (FOLDER / "page.css").read_text(encoding="utf-8")
SCRIPT = inline.script()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the page is made from; what is read of it is forgotten afterwards."""
    monkeypatch.setattr(inline, "_read", lambda name: (tmp_path / name).read_text(encoding="utf-8"))
    return tmp_path


def test_every_module_is_part_of_the_script_after_those_that_it_imports() -> None:
    order = inline.modules()
    assert sorted(order) == sorted(path.stem for path in FOLDER.glob("*.js"))
    assert order[-1] == inline.MAIN
    for place, name in enumerate(order):
        source = (FOLDER / f"{name}.js").read_text(encoding="utf-8")
        assert set(re.findall(r'from "\./(\w+)\.js"', source)) <= set(order[:place])


def test_no_two_modules_use_the_same_name_for_different_things() -> None:
    names = Counter(re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", SCRIPT, re.MULTILINE))
    assert names["describe"] == 1 and max(names.values()) == 1


def test_the_template_holds_style_and_script_and_waits_for_the_data_alone() -> None:
    template = inline.template()
    assert STYLE in template and SCRIPT in template
    assert re.findall(r"\{\{\w+\}\}", template) == ["{{data}}"]


def test_modules_become_one_script_in_the_order_of_their_imports(files: Path) -> None:
    (files / "page.js").write_text('import { b } from "./b.js";\nimport {\n  a,\n} from "./a.js";\nb(a);\n')
    (files / "b.js").write_text('import { a } from "./a.js";\n\nexport function b(x) { return a + x; }\n')
    (files / "a.js").write_text("export const a = 1;\n")
    assert inline.modules() == ["a", "b", "page"]
    assert inline.script().split("\n\n") == ["const a = 1;", "function b(x) { return a + x; }", "b(a);\n"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ('import { page } from "./page.js";\n', "page -> page is a circle"),
        ('import * as all from "./a.js";\n', "none of the forms that can be inlined"),
        ("export default 1;\n", "none of the forms that can be inlined"),
        ("export let counter = 1;\n", "none of the forms that can be inlined"),
    ],
)
def test_a_module_that_would_not_work_inlined_is_refused(files: Path, source: str, reason: str) -> None:
    (files / "page.js").write_text(source)
    with pytest.raises(AssertionError, match=reason):
        inline.script()


def test_a_script_that_would_end_its_element_is_refused(files: Path) -> None:
    (files / "page.html").write_text("{{style}}\n{{script}}\n{{data}}")
    (files / "page.css").write_text("")
    (files / "page.js").write_text('const text = "</script>";\n')
    with pytest.raises(AssertionError, match="the script would end its element"):
        inline.template.__wrapped__()


def test_the_style_sheet_has_no_error_of_syntax() -> None:
    assert problems(STYLE) == []


@pytest.mark.parametrize(
    "broken",
    [
        "a { color red }",
        "a { color: red",
        "a { color: red b { top: 0 } }",
        "a { color: ) }",
        "@media print { b { : 1 } }",
    ],
)
def test_the_check_of_syntax_sees_an_error(broken: str) -> None:
    assert problems(broken)


def test_no_rule_sets_a_property_twice() -> None:
    twice = [
        (rule, name) for (rule, name), count in Counter((r, n) for r, n, _ in declarations(STYLE)).items() if count > 1
    ]
    assert twice == []


def test_every_colour_that_is_used_is_defined_and_the_other_way_round() -> None:
    defined = {name for _, name, _ in declarations(STYLE) if name.startswith("--")}
    used = set(re.findall(r"var\((--[\w-]+)\)", STYLE + SCRIPT + STRUCTURE))
    assert used == defined and len(defined) > 10


def test_every_class_and_id_with_a_style_stands_in_the_structure_or_the_script() -> None:
    words = set(re.findall(r"[\w-]+", STRUCTURE + SCRIPT))
    named = {name for selector in selectors(STYLE) for name in re.findall(r"[.#]([A-Za-z][\w-]*)", selector)}
    assert named - words == set() and len(named) > 30


def test_every_id_that_the_script_asks_for_is_in_the_structure() -> None:
    wanted = set(re.findall(r'byId\("([\w-]+)"\)', SCRIPT))
    [optional] = re.findall(r"OPTIONAL = \[([^]]*)\]", SCRIPT)
    roles = re.findall(r"\w+", optional)
    wanted |= {f"show-{role}" for role in roles} | {f"has-{role}" for role in (*roles, "merged") if role != "data"}
    assert wanted <= set(re.findall(r'id="([\w-]+)"', STRUCTURE)) and len(wanted) > 15
