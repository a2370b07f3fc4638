"""Every block of the documentation runs, and prints what stands there."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from doc_pages import PAGES, ROOT, Block, commands, read_blocks

from emc.cli.kinds import KINDS
from emc.cli.main import main

#: `emc` for a shell, by this Python.
_SHELL = f'emc() {{ {shlex.quote(sys.executable)} -m emc "$@"; }}\n'

_CHECKER = doctest.OutputChecker()
_LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass
class Reader:
    """Somebody who follows one page from its beginning in an empty folder.

    Attributes:
        folder: where.
        names: of the page's Python.
        printed: by the last block that was run.
        done: blocks by their role.
    """

    folder: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})
    printed: str = ""
    done: Counter[str] = field(default_factory=Counter)

    def follow(self, block: Block) -> None:
        """Do what a block asks for."""
        self.done[block.role] += 1
        if block.role == "run":
            self.printed = self._python(block) if block.language == "python" else self._shell(block)
        elif block.role == "file":
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.source)
            check_syntax(block)
        elif block.role == "output":
            assert _CHECKER.check_output(plain(block.source), plain(self.printed), _LOOSE), (
                f"{block} shows\n{block.source}\nbut there was printed\n{self.printed}"
            )
        else:
            check_syntax(block)

    def _python(self, block: Block) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile("\n" * block.line + block.source, str(block.page), "exec"), self.names)
        return out.getvalue()

    def _shell(self, block: Block) -> str:
        lines = commands(block.source)
        assert lines, f"{block} has a command"
        if not all(is_plain(line) for line in lines):
            return self._real_shell(block)
        return "".join(self._emc(line, block) for line in lines)

    def _emc(self, line: str, block: Block) -> str:
        """One command in this process; where it is redirected nothing is printed."""
        words = shlex.split(line, comments=True)[1:]
        target = words.pop() if words[-2:-1] == [">"] else None
        outcome = CliRunner().invoke(main, words[:-1] if target else words)
        assert outcome.exit_code == block.exit_code, f"{block}: {line}\n{outcome.output}"
        if target is None:
            return outcome.output if block.exit_code else outcome.stdout
        (self.folder / target).write_text(outcome.stdout)
        return ""

    def _real_shell(self, block: Block) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", _SHELL + block.source],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == block.exit_code, f"{block}\n{done.stderr}"
        return done.stdout


def is_plain(line: str) -> bool:
    """Whether a command line is emc alone, redirected at most, which needs no shell and no process of its own."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    words = list(lexer)
    signs = [place for place, word in enumerate(words) if set(word) <= set("();<>|&")]
    redirected = [len(words) - 2] if words[-2:-1] == [">"] else []
    return words[0] == "emc" and signs == redirected and "$" not in line


def plain(text: str) -> str:
    """A text without times, which differ from run to run."""
    return re.sub(r"\b\d[\d,.]* (s|ms|minutes)\b", "T s", text)


def check_syntax(block: Block) -> None:
    """Parse what is not run."""
    if block.language == "python":
        compile(block.source, str(block), "exec")
    elif block.language == "toml":
        tomllib.loads(block.source)
    elif block.language == "json":
        json.loads(block.source)
    elif block.language == "jsonl":
        assert all(isinstance(json.loads(line), dict) for line in block.source.splitlines())
    elif block.language == "bash" and block.role == "not run":
        subprocess.run(["bash", "-n", "-c", block.source], check=True, timeout=10)
        for line in commands(block.source):
            words = shlex.split(line, comments=True)
            if words[0] == "emc":
                parse(words[1:])


def parse(words: Sequence[str]) -> None:
    """Read a command line as `emc` would, down to its last option."""
    command: click.Command = main
    args, context = list(words), click.Context(main)
    while isinstance(command, click.Group):
        name, found, args = command.resolve_command(context, args)
        assert found is not None, name
        command = found
        context = command.make_context(name, list(args), resilient_parsing=isinstance(command, click.Group))


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """In an empty folder and this Python's activated environment, whose plug-ins nobody else sees."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.delenv("EMC_JOURNAL", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.syspath_prepend(str(tmp_path))
    for kind in KINDS:
        registry = kind.registry()
        registry.names()
        monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))
    modules = set(sys.modules)
    yield Reader(tmp_path)
    for name in set(sys.modules) - modules:
        path = getattr(sys.modules[name], "__file__", None) or ""
        if path.startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_a_page_does_what_it_says(page: Path, reader: Reader) -> None:
    blocks = read_blocks(page)
    for block in blocks:
        reader.follow(block)
    assert reader.done.total() == len(blocks)


def test_most_blocks_run() -> None:
    roles = Counter(block.role for page in PAGES for block in read_blocks(page))
    assert roles["run"] >= 40
    assert roles["run"] > 2 * roles["not run"]


@pytest.mark.parametrize(
    "fence", ["```\nx\n```", "```bash title='x'\nx\n```", '```bash title="not run"\nx\n```', "```sh\nx\n```"]
)
def test_a_block_of_no_known_kind_is_refused(fence: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(fence + "\n")
    with pytest.raises(ValueError, match=r"page\.md:1: a block has a known language and title"):
        read_blocks(page)


def test_wrong_output_and_wrong_commands_are_found(reader: Reader) -> None:
    page = Path("page.md")
    reader.follow(Block(page, 1, "python", "", "print(1 + 1)", "run"))
    reader.follow(Block(page, 2, "text", "output", "2\n", "output"))
    with pytest.raises(AssertionError, match="there was printed"):
        reader.follow(Block(page, 3, "text", "output", "3\n", "output"))
    with pytest.raises(AssertionError, match="--nonsense"):
        reader.follow(Block(page, 4, "bash", "", "emc measure --nonsense", "run"))
    with pytest.raises(click.NoSuchOption, match="--nonsense"):
        reader.follow(Block(page, 5, "bash", "not run: needs time", "emc measure --nonsense", "not run"))
    with pytest.raises(AssertionError, match="false"):
        reader.follow(Block(page, 6, "bash", "", "false", "run"))


def test_no_block_is_indented_code() -> None:
    """Blocks by indentation would be run by nobody."""
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        assert not re.findall(r"(?<=\n\n)    \S.*", text), page


def test_links_of_files_outside_the_site_lead_somewhere() -> None:
    for page in PAGES[:2]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_setting_is_named_in_the_documentation() -> None:
    text = "".join(page.read_text() for page in PAGES)
    options = import_module("emc.cli.options").settings()
    missing = [name for name in options if name not in text and name.replace("_", "-") not in text]
    assert not missing


def test_the_readme_names_what_ci_runs() -> None:
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci/run").read_text()
    for command in re.findall(r"^make [\w-]+", ci, flags=re.MULTILINE):
        assert command in readme
    assert "make measure" in readme
