"""Chat templates of model folders, compiled as transformers compiles them.

Sandbox, tags, filters and globals are those of `transformers.utils.chat_template_utils`, whose function is private; a
test compares both. Neither torch nor transformers is imported, because the driver frames prompts too.

Templates get no clock and no chance, so that prompts stay the same from day to day. A template that tests for a clock
renders without one; one that assumes a clock reads `DATE`. Jinja's filter `random` and its `lipsum()` raise an error.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

CLOCK = "strftime_now"
DATE = datetime(2024, 7, 26)
"""The date in Llama's templates without a clock."""
FAULTS = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""Errors of a failing template: its operators and filters are Python's."""
MOST_TOLD = 300
"""Characters of a template's own words in a message."""


def compiled(source: str) -> jinja2.Template:
    """Return a template that renders as transformers renders it. Raises jinja2.TemplateError where it is no Jinja."""
    environment = _environment()
    if not _asks_for_clock(environment.parse(source)):
        environment.globals[CLOCK] = DATE.strftime
    return environment.from_string(source)


def told(error: Exception) -> str:
    """Return an error as one bounded line with control characters escaped: a template raises words of its own."""
    text = str(error)[: MOST_TOLD + 1]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= MOST_TOLD else f"{shown[: MOST_TOLD - 3]}..."


def variables(source: str) -> set[str]:
    """Return the names whose values a template gets from its caller. Raises jinja2.TemplateError as `compiled`."""
    environment = _environment()
    return find_undeclared_variables(environment.parse(source)) - environment.globals.keys() - {CLOCK}


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _tojson
    environment.filters["random"] = _draw
    environment.globals |= {"raise_exception": _refuse, "dict": _Dict(), "namespace": _Namespace, "lipsum": _draw}
    return environment


def _asks_for_clock(tree: nodes.Template) -> bool:
    tests = tree.find_all(nodes.Test)
    return any(type(test.node) is nodes.Name and test.node.name == CLOCK for test in tests)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON without the HTML escapes of Jinja's own filter."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _draw(*_: Any, **__: Any) -> NoReturn:
    raise jinja2.TemplateError(
        "it draws at random (`random` or `lipsum`), so that no prompt would be shown the same way twice; write what it "
        "draws into the template"
    )


class _Generation(Extension):
    """`{% generation %}`, which marks the assistant's text; the text is rendered unchanged."""

    tags = {"generation"}  # noqa: RUF012  # Jinja declares an instance's attribute

    def parse(self, parser: Parser) -> nodes.Node:
        """Return a call, as transformers does, so that variables set inside stay inside."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_inside"), [], [], body).set_lineno(line)

    def _inside(self, caller: Callable[[], str]) -> str:
        return caller()


class _Dict:
    """`dict(...)` as a function: a template could reach other classes through the class."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(jinja2.utils.Namespace):
    """`namespace(...)` without attributes with a leading underscore, which could be Python's internals."""

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        attributes = dict(*args, **kwargs)
        for name in attributes:
            _check_attribute(name)
        super().__init__(attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_attribute(name)
        super().__setitem__(name, value)


def _check_attribute(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace holds no attribute {name!r}; leave the underscore out")
