"""Files of nonsense, in thousands: one sentence and exit code 2, or they are no nonsense and are taken."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from children import Ledger
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emc.cli import options
from emc.cli.main import main
from emc.errors import SpecError
from emc.resolve import resolve_names
from emc.specs import Execution, Measurement
from emc.sweeps import Cell

KEYS = sorted({*options.settings(), *options.PARTS})

#: What stands behind every name a plug-in may have, with options that are no numbers, too large, empty or paths.
PLUGINS = st.builds(
    "{}{}".format,
    st.sampled_from(
        ("mlp", "linear", "digits", "csv", "folder", "openml", "gaussian", "adam", "lbfgs", "random", "reactive")
    )
    | st.sampled_from(
        ("bisection", "threshold", "geometric", "linear", "halving", "../../x", "a/b", "file.py:name", "os.system")
    ),
    st.just("")
    | st.builds(
        ":{}={}".format,
        st.sampled_from(["width", "depth", "lr", "path", "id", "factor", "p", "dim", "size", "target", "__class__"]),
        st.text(max_size=8) | st.integers().map(str) | st.sampled_from(["1e999", "nan", "-0", "9" * 5000, "/dev/zero"]),
    ),
)

#: Texts of TOML values, broken ones among them.
VALUES = st.recursive(
    st.one_of(
        st.integers().map(str),
        st.integers(0, 2**64).map(hex),
        st.sampled_from(["9" * 5000, "0x" + "f" * 5000, "1e999", "-1e999", "1_0", "00", "nan", "-inf", "+inf", "true"]),
        st.floats().map(repr),
        st.text(max_size=20).map(json.dumps),
        PLUGINS.map(json.dumps),
        st.text(max_size=10).map("'{}'".format),
        st.text(max_size=10).map('"""{}"""'.format),
        st.dates().map(str),
        st.datetimes().map(str),
        st.sampled_from(['"\\u0000"', '"\\u001b[2J"', '"\\ud800"', '"\\n"', "''", '"none"', "[" * 3000, "{a=" * 3000]),
        st.integers(1, 3000).map(lambda depth: "[" * depth + "]" * depth),
        st.integers(1, 3000).map(lambda depth: "{a=" * depth + "1" + "}" * depth),
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | inner.map("{{lr = {}}}".format)
        | inner.map("{{replicates = {}}}".format)
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(KEYS) | st.text(max_size=12).map(json.dumps) | st.sampled_from(["", "a.b", "task.data", "'.'"])
LINES = st.one_of(
    st.builds("{} = {}".format, NAMES, VALUES),
    st.builds("[{}]".format, NAMES),
    st.builds("[[{}]]".format, NAMES),
    st.text(max_size=30),
    st.integers(1, 2000).map(lambda depth: "[" + ".".join("a" * depth) + "]"),
)
FILES = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(LINES, max_size=6).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")),
    st.builds("{} = {}\n".format, st.sampled_from(KEYS), VALUES).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    ),
)


AXES = st.one_of(
    VALUES,
    st.lists(VALUES, max_size=4).map(lambda values: f"[{', '.join(values)}]"),
    st.builds("{{{} = {}}}".format, st.sampled_from(["range", "log2", "log10", "geometric", "x"]), VALUES),
    st.builds(
        "{{{} = [{}, {}]}}".format,
        st.sampled_from(["range", "log2", "log10", "geometric"]),
        st.integers(-5, 10**12) | st.floats(),
        st.integers(-5, 10**12) | st.floats(),
    ),
)
#: Files that are nearly sweeps.
SWEEPS = st.lists(
    st.builds(
        "{}\n{} = {}".format,
        st.sampled_from(["[base]", "[grid]", "[[zip]]", "[[exclude]]", "[execution]", "", "[grid.grid]", "[zip]"]),
        NAMES | st.sampled_from(['"model.width"', '"optimizer.lr"', '"seed"', "name"]),
        AXES,
    ),
    max_size=4,
).map(lambda parts: "\n".join(parts).encode("utf-8", "surrogatepass"))


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """`emc.api` and the planning of sweeps look names up as ever and then refuse, before any data are read."""

    def prepare(measurement: Measurement, *, execution: Execution) -> Any:  # noqa: ARG001
        resolve_names(measurement, own_model=False, own_data=False)
        raise SpecError("the settings are fine")

    module = ModuleType("emc.api")
    module.prepare = prepare  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "emc.api", module)

    def plan_cells(cells: Sequence[Cell], *_: object) -> Any:
        for cell in cells[:3]:
            cell.measurement()
        raise SpecError("the settings are fine")

    planning = ModuleType("emc.planning")
    planning.plan_cells, planning.totals = plan_cells, None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "emc.planning", planning)


def check_sentence(outcome: Result) -> None:
    """One printable sentence of bounded length and exit code 2."""
    assert outcome.exit_code == 2, outcome.output
    assert outcome.stdout == ""
    sentence = outcome.stderr.removesuffix("\n")
    assert sentence.startswith("error: ")
    assert sentence.isprintable()
    assert len(sentence) < 2000


@pytest.mark.faults(quick=200, full=3000)
@pytest.mark.usefixtures("no_training")
def test_configuration_of_nonsense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials: int, ledger: Ledger
) -> None:
    monkeypatch.chdir(tmp_path)
    check_files(FILES, trials, tmp_path / "nonsense.toml", ["measure", "--quiet", "--config"])
    ledger(trials, 0)


@pytest.mark.faults(quick=200, full=3000)
@pytest.mark.usefixtures("no_training")
def test_sweep_of_nonsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials: int, ledger: Ledger) -> None:
    monkeypatch.chdir(tmp_path)
    check_files(FILES | SWEEPS | SWEEPS, trials, tmp_path / "nonsense.toml", ["sweep", "--dry-run", "--quiet"])
    ledger(trials, 0)


def check_files(files: st.SearchStrategy[bytes], trials: int, path: Path, words: Sequence[str]) -> None:
    """Every file gets one sentence, and nothing is written."""
    runner = CliRunner()

    @settings(
        max_examples=trials, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(files)
    def check(content: bytes) -> None:
        path.write_bytes(content)
        check_sentence(runner.invoke(main, [*words, str(path)]))
        assert os.listdir(path.parent) == [path.name]

    check()
