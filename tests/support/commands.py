"""One call of every command, for tests that walk them all over a store that somebody else has made.

Words in braces are filled in: `{store}`, `{lineage}`, and `{out}`, a new folder.
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer
from typer.main import get_command

from bootstrap.cli.main import app, main

ONE = ("--store", "{store}", "--lineage", "{lineage}")
REMEMBERED = "{store}/{lineage}/recipe.json"
CALLS: dict[str, tuple[tuple[str, ...], ...]] = {
    "run": ((REMEMBERED, "--local", *ONE),),
    "fork": (("{lineage}@gen-1", "again", "--store", "{store}"),),
    "submit": ((REMEMBERED, "--address", "http://127.0.0.1:9"),),
    "plan": ((REMEMBERED, *ONE),),
    "lineage": (("--store", "{store}"), ONE),
    "show": (("gen-1", *ONE), ("base", *ONE)),
    "why": (("gen-1", *ONE),),
    "diff": (("gen-0", "gen-1", *ONE),),
    "samples": (("gen-1", *ONE),),
    "trace": (("g1.s0.u0.p0.k0", *ONE),),
    "taint": (("gen-0", *ONE), ("exact", *ONE)),
    "contamination": (("champion", *ONE),),
    "compare": (("{lineage}", "addition", "--store", "{store}"),),
    "reproduce": (("gen-1", *ONE),),
    "report": (
        ("--store", "{store}", "--no-publish", "{lineage}"),
        ("--store", "{store}", "--no-publish", "--table", "{lineage}"),
    ),
    "chat": (("champion", "--prompt", "1+1=", *ONE),),
    "export": (
        ("champion", "{out}/model", *ONE),
        ("{out}/whole.tar", *ONE),
        *(("--as", form, *ONE) for form in ("mermaid", "json")),
    ),
    "pairs": (("gen-1", "{out}/pairs.jsonl", "--by", "exact", *ONE),),
    "import": (("{out}/whole.tar", "--store", "{out}/other"),),
    "verify": (ONE,),
    "gc": (ONE,),
    "rescore": (ONE,),
    "verifier check": (("--recipe", REMEMBERED),),
}
SERVERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "serve": (("champion", "--port", "0", *ONE),),
    "ui": (("--store", "{store}", "--port", "0"),),
}
"""Commands that go on until they are stopped."""
ELSEWHERE = {"jobs", "attach", "stop", "watch"}
"""Commands that ask a server, and open no lineage's folder."""
WITHOUT_A_STORE = {"bench workers", "bench sandbox", "bench lineage", "reward-model", "recipes", "schema"}


def names() -> set[str]:
    """Return the names of all commands, those of groups after the group's."""
    return set(_names(get_command(app), ()))


def called(command: str, words: Sequence[str], **filled: str | Path) -> tuple[int, str]:
    """Return a command's exit code, and what it prints on standard output and standard error."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        code = main([*command.split(), *(word.format(**filled) for word in words)])
    return code, told.getvalue()


def _names(command: typer.core.TyperCommand | typer.core.TyperGroup, above: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(command, typer.core.TyperGroup):
        yield " ".join(above)
        return
    for name, inner in command.commands.items():
        yield from _names(inner, (*above, name))
