from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from emc.cli.completion import CommaFishComplete, OpenZshComplete, complete_plugin
from emc.cli.kinds import Kind
from emc.cli.main import COMMANDS, main
from emc.registry import Registry

Run = Callable[..., Result]
Mistake = Callable[..., str]

_ANIMALS: Registry[Any] = Registry("animal")


@_ANIMALS.register("zebra")
def _zebra(*, stripes: int = 3, tame: bool = False) -> None:
    """Striped."""


@_ANIMALS.register("zebu")
def _zebu(*, path: str) -> None:
    """Humped."""


def _values(incomplete: str) -> list[str]:
    return [item.value for item in complete_plugin(Kind("animals", "animal", __name__, "_ANIMALS"), incomplete)]


@pytest.mark.parametrize(
    ("incomplete", "values"),
    [
        ("", ["zebra", "zebu:"]),
        ("zebr", ["zebra"]),
        ("x", []),
        ("zebra:", ["zebra:stripes=", "zebra:tame="]),
        ("zebra:st", ["zebra:stripes="]),
        ("zebra:stripes=", ["zebra:stripes=3"]),
        ("zebra:tame=", ["zebra:tame=true", "zebra:tame=false"]),
        ("zebra:tame=f", ["zebra:tame=false"]),
        ("zebra:stripes=4,", ["zebra:stripes=4,tame="]),
        ("zebra:stripes=4,tame=t", ["zebra:stripes=4,tame=true"]),
        ("zebra:stripes=4,st", []),
        ("zebu:", ["zebu:path="]),
        ("zebu:path=", []),
        ("horse:", []),
    ],
)
def test_plugins_complete(incomplete: str, values: list[str]) -> None:
    assert _values(incomplete) == values


def _bash(line: str, wordbreaks: str = " \t\n\"'><=;|&(:") -> list[str]:
    environment = {"_EMC_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": "", "EMC_WORDBREAKS": wordbreaks}
    output = CliRunner().invoke(main, [], prog_name="emc", env=environment).stdout
    return [entry.partition(",")[2] for entry in output.splitlines()]


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("emc ", list(COMMANDS)),
        ("emc me", ["measure"]),
        ("emc list o", ["optimizers"]),
        ("emc completion z", ["zsh"]),
        ("emc measure --replic", ["--replicates"]),
        ("emc measure --precision float", ["float32", "float64"]),
        ("emc measure --growth ", ["geometric", "linear"]),
        ("emc measure --growth=li", ["linear"]),
        ("emc measure --growth linear:", ["step="]),
        ("emc measure --growth linear:st", ["step="]),
        ("emc measure --growth=linear:st", ["step="]),
        ("emc measure --growth linear:step=", ["16"]),
        ("emc measure --seed 3 --growth geo", ["geometric"]),
    ],
)
def test_bash_answers_are_what_follows_its_last_word_break(line: str, answers: list[str]) -> None:
    assert _bash(line) == answers


def test_bash_without_colons_among_its_word_breaks() -> None:
    assert _bash("emc measure --growth linear:st", wordbreaks=" \t\n") == ["linear:step="]


def test_scripts_hold_what_they_change_in_clicks() -> None:
    assert 'compadd "${suffix[@]}" -U' in OpenZshComplete.source_template
    assert 'string split --max 1 ","' in CommaFishComplete.source_template


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_printed(run: Run, shell: str) -> None:
    outcome = run("completion", shell)
    assert outcome.exit_code == 0
    assert f"_EMC_COMPLETE={shell}_complete" in outcome.stdout
    assert "_emc_completion" in outcome.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_really_completes(tmp_path: Path) -> None:
    (tmp_path / "emc").write_text(f'#!/bin/sh\nexec {sys.executable} -m emc "$@"\n')
    (tmp_path / "emc").chmod(0o755)
    script = """
        eval "$(emc completion bash)"
        COMP_LINE="emc measure --growth linear:st"; COMP_POINT=${#COMP_LINE}
        _emc_completion emc 2>/dev/null
        echo "${COMPREPLY[@]}"
    """
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    outcome = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert outcome.stdout == "step=\n"


def test_an_unknown_shell(mistake: Mistake) -> None:
    assert mistake("completion", "bsh") == 'there is no completion for the shell "bsh"; did you mean "bash"?'
