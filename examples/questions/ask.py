"""Grow the lineages of docs/questions.md, and put what its commands print into the page.

    python examples/questions/ask.py grow      three lineages in build/questions, in some minutes on two cores
    python examples/questions/ask.py show      run every command of the page and write its output below it
    python examples/questions/ask.py check     the same, and name each command whose output is another

The same machine type gives the same output to the last digit; another one agrees within rounding, so that ids of
samples, figures and hashes may differ.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPES = Path("examples/questions")
FOLDER = Path("build/questions")
STORE = FOLDER / "runs"
PAGE = ROOT / "docs" / "questions.md"
SECONDS = 1800
"""Longest wait for one command."""
BLOCK = re.compile(r"^```console\n(\$ (?:bootstrap|python) .*\n)(?:.*\n)*?```$", re.MULTILINE)
GROW = (
    f"bootstrap run {RECIPES}/tutor.yaml --local --workers 1 --store {STORE}",
    f"bootstrap export champion {FOLDER}/tutor --store {STORE} --lineage tutor",
    f"bootstrap run {RECIPES}/first.yaml --local --workers 1 --store {STORE}",
    f"bootstrap fork first@champion second --recipe {RECIPES}/second.yaml --store {STORE}",
    f"bootstrap run {STORE}/second/recipe.json --local --workers 1 --store {STORE} --lineage second",
)


def run(line: str, *, shown: bool) -> str:
    """Run a command of the page in the repository's folder and return what it prints; `shown`: let it print instead."""
    words = shlex.split(line)
    program = [sys.executable, "-m", "bootstrap"] if words[0] == "bootstrap" else [sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    done = subprocess.run(
        [*program, *words[1:]],
        cwd=ROOT,
        env=environment,
        stdout=None if shown else subprocess.PIPE,
        stderr=None if shown else subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{line}\nended with {done.returncode}: {done.stderr or ''}")
    return done.stdout or ""


def block(line: str) -> str:
    """Return a block of the page: the command and what it prints, blanks at the ends of lines left out."""
    printed = run(line.removeprefix("$ "), shown=False)
    kept = [one.rstrip() for one in printed.splitlines()]
    return "\n".join(["```console", line, *(one for one in kept if one), "```"])


def main(arguments: list[str]) -> int:
    """Run one of the three commands and return its exit code."""
    if arguments == ["grow"]:
        for line in GROW:
            print(f"$ {line}", flush=True)
            run(line, shown=True)
        return 0
    if arguments not in (["show"], ["check"]):
        print(__doc__)
        return 2
    page = PAGE.read_text(encoding="utf-8")
    others = []
    for found in list(BLOCK.finditer(page)):
        made = block(found[1].rstrip("\n"))
        if made != found[0]:
            others.append(found[1].strip())
            page = page.replace(found[0], made)
    if arguments == ["show"]:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    print("\n".join([*others, f"{len(others)} commands print something else"]))
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
