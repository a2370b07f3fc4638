from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from emc.cli.config import read_config
from emc.errors import SpecError, UnknownNameError

Run = Callable[..., Result]
Mistake = Callable[..., str]


def _write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "c.toml").write_text(text)
    return tmp_path / "c.toml"


def test_flat_keys_and_tables_mean_the_same(tmp_path: Path) -> None:
    flat = read_config(_write(tmp_path, 'model = "mlp:width=4"\nn_max = 50\nseed = 3\ndevice = "cpu"\ndata = "wine"'))
    text = '[task]\ndata="wine"\n[procedure]\nmodel="mlp:width=4"\n[search]\nn_max=50\n[measurement]\nseed=3\n'
    tables = read_config(_write(tmp_path, text + '[execution]\ndevice="cpu"'))
    assert flat == tables == {"data": "wine", "model": "mlp:width=4", "n_max": 50, "seed": 3, "device": "cpu"}


def test_command_line_beats_file_beats_default(run: Run, fake_api: Any, tmp_path: Path) -> None:
    path = _write(tmp_path, 'seed = 3\nreplicates = 4\ntf32 = true\njournal = "from_file.jsonl"')
    assert run("measure", "--config", path, "--seed", "9", "--no-tf32").exit_code == 0
    measurement = fake_api.measurement
    assert (measurement.seed, measurement.replicates, measurement.confidence) == (9, 4, 0.95)
    assert measurement.procedure.tf32 is False
    assert fake_api.execution.journal == "from_file.jsonl"


def test_the_command_line_wins_with_the_default_value_too(run: Run, fake_api: Any, tmp_path: Path) -> None:
    run("measure", "--config", _write(tmp_path, "seed = 3"), "--seed", "0")
    assert fake_api.measurement.seed == 0


def test_file_values_are_judged_together_only_after_merging(run: Run, fake_api: Any, tmp_path: Path) -> None:
    assert run("measure", "--config", _write(tmp_path, "n_start = 50\nn_max = 10"), "--n-max", 90).exit_code == 0
    assert fake_api.measurement.search.n_max == 90


def test_an_empty_file_is_every_default(tmp_path: Path) -> None:
    assert read_config(_write(tmp_path, "")) == {}


def test_a_dry_run_is_a_configuration(run: Run, fake_api: Any, tmp_path: Path) -> None:
    first = run("measure", "--dry-run", "--model", "mlp:width=4", "--n-max", "77", "--growth", "linear")
    _write(tmp_path, first.stdout)
    run("measure", "--config", "c.toml", "--dry-run")
    assert fake_api.calls[0][0] == fake_api.calls[1][0]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("sede = 3", UnknownNameError, r'there is no setting "sede" \(in ".*c.toml"\); did you mean "seed"\?'),
        ("[tasks]\nx=1", UnknownNameError, r'there is no table "tasks" \(in ".*c.toml"\); did you mean "task"\?'),
        ('[task]\nmodel="mlp"', UnknownNameError, r'"model" is a setting of \[procedure\], got it in \[task\]'),
        ("task = 3", SpecError, r'"task" is a table, got 3 \(in ".*c.toml"\); write \[task\] above its settings'),
        ("seed = 1\n[measurement]\nseed = 2", SpecError, r'a setting is given once, got "seed" twice in ".*c.toml"'),
        ("seed = 1\nseed = 2\n", SpecError, r"must be valid TOML, got \".*c.toml\" \(.* \(at line 2, column 9\)\)"),
        ("seed = \n", SpecError, r"must be valid TOML, got \".*c.toml\" \(invalid value \(at line 1, column 8\)\)"),
        ('seed = "x"', SpecError, r"--seed takes a whole number, got 'x' \(in \".*c.toml\"\)"),
        ("seed = [1]", SpecError, r"--seed takes a whole number, got \[1\] \(in \".*c.toml\"\)"),
        ("model = 3", SpecError, r"--model takes a name or name:key=value,key=value, got 3 \(in"),
        ("tf32 = 1", SpecError, r"--tf32 takes true or false, got 1 \(in"),
        ("n_max = 0", SpecError, r"--n-max must be at least 1, got 0 \(in"),
        ("[task.data]\nname = 'x'", SpecError, r"--data takes a name or name:key=value,key=value, got \{'name': 'x'\}"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_config(_write(tmp_path, text))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "a configuration file must exist, got"),  # noqa: ARG005
        (lambda path: path.mkdir(), "a configuration file must be readable, got"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "a configuration file must be valid TOML, got"),
        (lambda path: path.write_text("a = = 1"), "a configuration file must be valid TOML, got"),
    ],
)
def test_unusable_files(
    mistake: Mistake, fake_api: Any, tmp_path: Path, make: Callable[[Path], Any], sentence: str
) -> None:
    make(tmp_path / "c.toml")
    assert mistake("measure", "--config", "c.toml").startswith(sentence)
    assert not fake_api.calls
