"""The fenced blocks of the documentation, and what to do with each: run it, compare it, or know why not.

A block says by its title what it is:

- ``bash`` without a title: commands, run one after the other in the page's folder; "exit code N" where they end so;
- ``python`` without a title: run in one namespace a page;
- ``title="NAME.EXT"``: a file, which the commands after it find in the folder;
- ``title="output"``: what the block before printed, times apart and ``...`` standing for anything;
- ``title="an example of ..."``: what something may look like, never compared;
- ``title="not run: needs ..."``: what a test cannot run, and why; it is parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sybil import Document
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r'(?P<language>[\w-]*)(?:[ \t]+title="(?P<title>[^"\n]*)")?(?P<rest>[^\n]*)\n')
_FILE = re.compile(r"[\w./-]+\.(py|toml|json|jsonl|csv|cfg|sh)")
_LANGUAGES = ("bash", "python", "toml", "json", "jsonl", "ini", "text", "bibtex")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: the file it stands in.
        line: where it starts.
        language: after the fence.
        title: the title, empty where there is none.
        source: its lines.
        role: "run", "file", "output", "example" or "not run".
    """

    page: Path
    line: int
    language: str
    title: str
    source: str
    role: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def exit_code(self) -> int:
        """How its commands end."""
        found = re.fullmatch(r"exit code (\d+)", self.title)
        return int(found[1]) if found else 0


def read_blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order.

    Raises:
        ValueError: a block of which nobody knows what to do with it.
    """
    found = []
    document = Document.parse(str(page), RawFencedCodeBlockLexer(_FENCE))
    for number, (_, region) in enumerate(document.regions):
        facts = region.lexemes
        line = document.text.count("\n", 0, region.start) + 1
        language, title = facts["language"], facts["title"] or ""
        role = _role(language, title)
        if facts["rest"].strip() or role is None or (role == "output" and number == 0):
            raise ValueError(f'{page.name}:{line}: a block has a known language and title, got "{language}", "{title}"')
        found.append(Block(page, line, language, title, str(facts["source"]), role))
    return found


def _role(language: str, title: str) -> str | None:
    if language not in _LANGUAGES:
        return None
    if re.match(r"not run: needs \w+", title):
        return "not run"
    if language in ("bash", "python") and (not title or title.startswith("exit code ")):
        return "run"
    if language == "text" and title == "output":
        return "output"
    if title.startswith("an example of "):
        return "example"
    return "file" if _FILE.fullmatch(title) else None


def commands(source: str) -> list[str]:
    """The commands of a shell block, one a logical line, comments left out."""
    lines = source.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
