"""The page's files -> one template: style and script inside the HTML, a single place left for the data.

    page.html    structure, with a place for each of style, script and data
    page.css     style
    *.js         script, as modules; `page.js` is the one that draws, and each imports what it needs by name

The modules become one plain script: each stands after those that it imports, in one scope, without the import and
export words. So the page loads nothing, and top-level names must differ between modules. Leaves out the data
(`graph.py`).
"""

import importlib.resources
import re
from functools import cache

MAIN = "page"
"""The module that is run."""
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n+', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const |function )", re.MULTILINE)
_MODULE_SYNTAX = re.compile(r"^(import|export)\b.*", re.MULTILINE)


@cache
def template() -> str:
    """Return the page as one file, with `{{data}}` where the graph's JSON goes. The same files give the same text."""
    html = _read("page.html")
    for name, text in (("style", _read("page.css")), ("script", script())):
        before, place, after = html.partition(f"{{{{{name}}}}}\n")
        assert place, f"page.html has no place for the {name}"
        assert "</" not in text, f"the {name} would end its element"
        html = before + text + after
    assert html.count("{{data}}") == 1, "page.html needs one place for the data"
    return html


def script() -> str:
    """Return the modules that `page.js` needs, itself last, as one script."""
    return "\n".join(_inlined(name) for name in modules())


def modules() -> list[str]:
    """Return the names of the modules that `page.js` needs, each after those that it imports, itself last."""
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
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")
