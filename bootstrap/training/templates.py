"""Chat templates of model folders, compiled as transformers compiles them.

The same Jinja sandbox, tags, filters and globals as `transformers.utils.chat_template_utils`, whose own function is
private; a test compares both. Neither torch nor transformers is imported, because the driver frames prompts too.

Templates are given no clock, since prompts that change from day to day could not be grown again. One that asks whether
there is a clock goes on without; one that takes it for granted reads `DATE`. Nor are they given chance: Jinja's filter
`random` and its `lipsum()` fail where they are reached.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

CLOCK = "strftime_now"
DATE = datetime(2024, 7, 26)
"""The day that Llama's templates write where there is no clock."""
FAULTS = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a template raises when it fails: it is a program, and operators and filters fail as Python's do."""


def compiled(source: str) -> jinja2.Template:
    """Return a template that renders as transformers renders it. Raises jinja2.TemplateError where it is no Jinja."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _refuse, "dict": _Dict(), "namespace": _Namespace, "lipsum": _draw}
    environment.filters["random"] = _draw
    if not _asks_for_clock(environment.parse(source)):
        environment.globals[CLOCK] = DATE.strftime
    return environment.from_string(source)


def _asks_for_clock(tree: nodes.Template) -> bool:
    tests = tree.find_all(nodes.Test)
    return any(isinstance(test.node, nodes.Name) and test.node.name == CLOCK for test in tests)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON without HTML's escapes, which Jinja's own filter would write."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _draw(*_: Any, **__: Any) -> NoReturn:
    raise jinja2.TemplateError(
        "it draws at random (`random` or `lipsum`), so that no prompt would be shown the same way twice; write what it "
        "draws into the template"
    )


class _Generation(Extension):
    """`{% generation %}`, which marks what the assistant wrote; its text is rendered as it is."""

    tags: ClassVar[set[str]] = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        """Return a call, as transformers does: what is set inside stays inside."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_inside"), [], [], body).set_lineno(line)

    def _inside(self, caller: Callable[[], str]) -> str:
        return caller()


class _Dict:
    """`dict(...)` without the class, through which a template could reach others."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(jinja2.utils.Namespace):
    """`namespace(...)` whose attributes bear no leading underscore, as Python's internals do."""

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
