"""The commands of infra/README.md, run on services that are processes of this machine.

A line is understood as far as the page goes: `$compose exec -T SERVICE WORD...` with one `> FILE` or `< FILE` at its
end, `$compose stop SERVICE` and `$compose start SERVICE`; any other raises ValueError.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from support.native import Running

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "infra" / "README.md"


def commands(heading: str, *, containing: str = "$compose") -> list[str]:
    """Return the indented lines under a heading that contain a text, in order, comments gone."""
    _, found, rest = README.read_text().partition(f"\n## {heading}\n")
    assert found, f"{README.name} has no heading {heading}"
    lines = re.findall(r"^    (.*)$", rest.partition("\n## ")[0], re.MULTILINE)
    return [re.sub(r"\s+#.*", "", line) for line in lines if containing in line and not line.startswith("#")]


def run(line: str, services: Mapping[str, Running], folder: Path) -> None:
    """Run one line. Files are those of the folder. Raises NativeError when the command fails."""
    words = [_with_files(word) for word in shlex.split(line)]
    match words:
        case ["$compose", "stop", name]:
            services[name].stop()
        case ["$compose", "start", name]:
            services[name].start()
        case ["$compose", "exec", "-T", name, *argv, ">", file]:
            with (folder / file).open("wb") as out:
                services[name].execute(argv, stdout=out)
        case ["$compose", "exec", "-T", name, *argv, "<", file]:
            with (folder / file).open("rb") as source:
                services[name].execute(argv, stdin=source)
        case ["$compose", "exec", "-T", name, *argv]:
            services[name].execute(argv)
        case _:
            raise ValueError(f"not understood: {line}")


def _with_files(word: str) -> str:
    """Return a word with the text of a file for `$(cat FILE)`."""
    match = re.fullmatch(r"\$\(cat (\S+)\)", word)
    return (REPOSITORY / match[1]).read_text().rstrip("\n") if match else word
