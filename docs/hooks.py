"""MkDocs' hooks: pages that are generated, and pages of the repository that stand elsewhere.

generate.py                     reference/settings.md, reference/cli.md
CONTRIBUTING.md, CHANGELOG.md,
infra/README.md, examples/      pages of their own, their links led to the site's pages
"""

import posixpath
import re
from pathlib import Path

from generate import pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "services.md": "infra/README.md",
    "examples.md": "examples/README.md",
}
"""Page of the site -> file of the repository that it shows."""
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that docs/ does not hold as files."""
    added = pages() | {page: shown(source) for page, source in ELSEWHERE.items()}
    for place, text in added.items():
        files.append(File.generated(config, place, content=text))
    return files


def shown(source: str) -> str:
    """Return a file of the repository with its relative links as the site has them.

    A link to a file that the site does not show becomes the file's name as code.
    """
    pages_of = {file: page for page, file in ELSEWHERE.items()}

    def led(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if target.startswith("docs/"):
            return f"]({target.removeprefix('docs/')}{match[2] or ''})"
        if target in pages_of:
            return f"]({pages_of[target]}{match[2] or ''})"
        return f"]{{{target}}}"

    text = _LINK.sub(led, (ROOT / source).read_text(encoding="utf-8"))
    return re.sub(r"\[([^\]]*)\]\{([^}]*)\}", r"`\2`", text)
