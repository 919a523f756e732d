"""The page's files -> one template: HTML with style and script inlined, and one placeholder for the data.

    page.html    structure, with a placeholder for each of style, script and data
    page.css     style
    *.js         script, as modules; `page.js` is the main one

The modules become one script: each follows those that it imports, without its `import` and `export` words. They share
one scope, so top-level names must differ between modules. Left out: the data (`graph.py`).
"""

import importlib.resources
import re
from functools import cache

MAIN = "page"
"""The main module."""
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n+', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const |function )", re.MULTILINE)
_MODULE_SYNTAX = re.compile(r"^(import|export)\b.*", re.MULTILINE)


@cache
def template() -> str:
    """Return the page as one file, with `{{data}}` for the graph's JSON."""
    html = _read("page.html")
    for name, text in (("style", _read("page.css")), ("script", script())):
        before, place, after = html.partition(f"{{{{{name}}}}}\n")
        assert place, f"page.html has no placeholder for the {name}"
        assert "</" not in text, f"the {name} would end its element"
        html = before + text + after
    assert html.count("{{data}}") == 1, "page.html needs one placeholder for the data"
    return html


def inlined_script() -> str:
    """Return the text of the page's one script element that is run, as the browser reads it."""
    _, _, after = template().partition("<script>")
    return after.partition("</script>")[0]


def script() -> str:
    """Return the modules as one script, in the order of `modules`."""
    return "\n".join(_inlined(name) for name in modules())


def modules() -> list[str]:
    """Return the names of `page.js` and of all modules that it needs, each after those that it imports."""
    order: list[str] = []

    def visit(name: str, importing: tuple[str, ...]) -> None:
        assert name not in importing, f"{' -> '.join((*importing, name))} is a circle of imports"
        if name not in order:
            for needed in _IMPORT.findall(_read(f"{name}.js")):
                visit(needed, (*importing, name))
            order.append(name)

    visit(MAIN, ())
    return order


def _inlined(name: str) -> str:
    text = _EXPORT.sub("", _IMPORT.sub("", _read(f"{name}.js")))
    left = _MODULE_SYNTAX.search(text)
    assert left is None, f"{name}.js: {left and left.group()!r} is none of the forms that can be inlined"
    return text


def _read(name: str) -> str:
    return importlib.resources.files("bootstrap.lineage.page").joinpath(name).read_text("utf-8")
