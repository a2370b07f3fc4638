from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from emc import texts
from emc.cli.main import COMMANDS, main
from emc.errors import DataError
from emc.results import EmcResult

MakeResult = Callable[..., EmcResult]
Run = Callable[..., Result]
Mistake = Callable[..., str]

# Numerical and drawing libraries that no quick answer may wait for.
HEAVY = ("torch", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "rich")


def _process(code: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


_REPORT_MODULES = f"""
import sys
from emc.cli.main import main
try:
    main(prog_name="emc")
finally:
    print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


@pytest.fixture
def result_file(make_result: MakeResult, tmp_path: Path) -> str:
    texts.write_result(make_result(), tmp_path / "result.json")
    return str(tmp_path / "result.json")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--help",),
        ("measure", "--help"),
        ("compare", "--help"),
        ("journal", "check", "--help"),
        ("watch", "--help"),
        ("list",),
        ("list", "models"),
        ("list", "data", "--json"),
        ("--version",),
    ],
)
def test_quick_answers_import_nothing_heavy(words: tuple[str, ...]) -> None:
    outcome = _process(_REPORT_MODULES, *words)
    assert (outcome.returncode, outcome.stderr) == (0, "\n")
    assert outcome.stdout


def test_show_imports_nothing_heavy(result_file: str) -> None:
    outcome = _process(_REPORT_MODULES, "show", result_file, "--probes")
    assert (outcome.returncode, outcome.stderr) == (0, "\n")
    assert "status" in outcome.stdout


def test_completion_imports_nothing_heavy() -> None:
    words = {"COMP_WORDS": "emc measure --model ml", "COMP_CWORD": "3", "_EMC_COMPLETE": "zsh_complete"}
    outcome = _process(_REPORT_MODULES, **words)
    assert (outcome.returncode, outcome.stderr) == (0, "\n")
    assert outcome.stdout.startswith("plain\nmlp\n")


def test_the_package_is_a_program() -> None:
    outcome = subprocess.run([sys.executable, "-m", "emc", "--help"], capture_output=True, text=True, check=True)
    assert outcome.stdout.startswith("Usage: emc [OPTIONS] COMMAND")


def test_a_closed_pipe_is_no_error(result_file: str) -> None:
    script = f"set -o pipefail; {sys.executable} -m emc show --probes {result_file} | true; echo ${{PIPESTATUS[0]}}"
    outcomes = [subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False) for _ in range(3)]
    assert {outcome.stderr for outcome in outcomes} == {""}
    assert {outcome.stdout for outcome in outcomes} <= {"0\n", "1\n"}


def test_every_command_is_listed_with_its_own_name() -> None:
    listed = CliRunner().invoke(main, []).stdout
    for name, (module, attribute, summary) in COMMANDS.items():
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        assert command.name == name
        assert f"{name} " in listed
        assert summary in listed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["mesure"], 'emc has no command "mesure"; did you mean "measure"?'),
        (["zzz"], f'emc has no command "zzz"; known are {", ".join(sorted(COMMANDS))}'),
        (["--colour"], 'emc has no option "--colour"; see emc --help'),
        (["measure", "--modle", "mlp"], 'emc measure has no option "--modle"; did you mean "--model"?'),
        (["measure", "--zzz"], 'emc measure has no option "--zzz"; see emc measure --help'),
        (["measure", "stray"], "got unexpected extra argument (stray); see emc measure --help"),
        (["show"], "missing argument 'RESULT'; see emc show --help"),
        (["measure", "--dry-run=yes"], "option '--dry-run' does not take a value; see emc --help"),
    ],
)
def test_usage_mistakes(mistake: Mistake, words: list[str], sentence: str) -> None:
    assert mistake(*words) == sentence


def test_a_missing_value(mistake: Mistake) -> None:
    assert mistake("measure", "--model").startswith("option '--model' requires an argument; see emc")


@pytest.mark.parametrize("words", [["--debug", "show", "nix"], ["show", "nix", "--debug"]])
def test_debug_shows_the_traceback_before_or_after_the_command(words: list[str]) -> None:
    outcome = subprocess.run([sys.executable, "-m", "emc", *words], capture_output=True, text=True, check=False)
    assert outcome.returncode != 0
    assert outcome.stderr.startswith("Traceback (most recent call last)")
    assert 'emc.errors.OutputError: a result file must exist, got "nix"' in outcome.stderr


def test_errors_of_the_library_are_one_sentence(run: Run, fake_api: Any) -> None:
    fake_api.failure = DataError("a task needs two classes,\n got one")
    outcome = run("measure")
    assert (outcome.exit_code, outcome.stderr) == (2, "error: a task needs two classes, got one\n")


def test_a_full_disk_is_one_sentence(run: Run, fake_api: Any) -> None:
    fake_api.failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x")
    outcome = run("measure")
    remedy = "check the path and the space on the disk"
    assert outcome.exit_code == 2
    assert outcome.stderr == f'error: a file must be usable, got "/tmp/x" (no space left on device); {remedy}\n'


def test_an_unexpected_error_names_debug(run: Run, fake_api: Any) -> None:
    fake_api.failure = RuntimeError("first line\nsecond line")
    outcome = run("measure")
    assert outcome.exit_code == 1
    assert outcome.stderr == (
        "error: unexpected RuntimeError: first line second line; "
        "run again with --debug to see where, and please report it\n"
    )


def test_an_interruption_before_the_training(run: Run, fake_api: Any) -> None:
    fake_api.failure = KeyboardInterrupt()
    outcome = run("measure")
    assert outcome.exit_code == 130
    assert outcome.stderr.split() == ["interrupted"]
