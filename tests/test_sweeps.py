from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emc.errors import EmcError, SpecError, UnknownNameError
from emc.specs import flat_settings
from emc.sweeps import MAX_CELLS, join_options, read_numbers, read_sweep

EXAMPLE = """
name = "activations"
[base]
data = "digits"
labels = "random"
[grid]
model = ["mlp", "cnn"]
"model.width" = {log2 = [4, 64]}
seed = {range = [0, 4]}
optimizer = ["adam", "sgd:lr=0.1"]
[[zip]]
batch_size = [32, 128]
min_steps = [4000, 1000]
[[exclude]]
model = "cnn"
optimizer = "sgd:lr=0.1"
[execution]
device = "cpu"
"""


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "sweep.toml"
        path.write_text(text)
        return path

    return write


def test_a_file_is_its_combinations_without_those_excluded(file: Callable[[str], Path]) -> None:
    sweep = read_sweep(file(EXAMPLE))
    cells = list(sweep)
    expected = [
        (model, width, seed, optimizer, batch, steps)
        for model in ("mlp", "cnn")
        for width in (4, 8, 16, 32, 64)
        for seed in range(5)
        for optimizer in ("adam", "sgd:lr=0.1")
        for batch, steps in ((32, 4000), (128, 1000))
        if (model, optimizer) != ("cnn", "sgd:lr=0.1")
    ]
    assert [tuple(cell.settings[name] for name in sweep.varying) for cell in cells] == expected
    assert [cell.number for cell in cells] == list(range(1, 151))
    assert {(cell.settings["data"], cell.settings["labels"]) for cell in cells} == {("digits", "random")}
    assert (sweep.name, sweep.execution) == ("activations", {"device": "cpu"})
    assert sweep[-1].settings == cells[-1].settings
    assert sweep[3:5] == cells[3:5]
    measurement = cells[0].measurement()
    assert str(measurement.procedure.model) == "mlp:width=4"
    assert (measurement.procedure.batch_size, measurement.procedure.min_steps) == (32, 4000)


def test_an_option_needs_no_quotes_and_one_zip_no_double_brackets() -> None:
    sweep = read_sweep(
        {
            "base": {"model": {"depth": 2}},
            "grid": {"model": {"width": [2, 3]}},
            "zip": {"seed": [0, 1], "n_max": [5, 6]},
        }
    )
    assert [dict(cell.settings) for cell in sweep] == [
        {"model.depth": 2, "model.width": width, "seed": seed, "n_max": n_max}
        for width in (2, 3)
        for seed, n_max in ((0, 5), (1, 6))
    ]


def test_the_text_none_leaves_a_setting_out() -> None:
    sweep = read_sweep({"grid": {"n_max": [9, "none"]}, "execution": {"journal": "none"}})
    assert [cell.settings["n_max"] for cell in sweep] == [9, None]
    assert sweep.execution == {"journal": None}


def test_an_axis_of_one_value_does_not_vary() -> None:
    assert read_sweep({"grid": {"seed": [3], "escape": [True, False]}}).varying == ("escape",)


def test_an_exclusion_takes_any_of_a_list_and_true_for_no_number() -> None:
    grid = {"seed": [0, 1, 2], "model.width": [1, 2], "escape": [True, False]}
    sweep = read_sweep({"grid": grid, "exclude": {"seed": [0, 2], "model.width": 1, "escape": True}})
    left = [tuple(cell.settings.values()) for cell in sweep]
    assert left == [
        (seed, width, escape)
        for seed in (0, 1, 2)
        for width in (1, 2)
        for escape in (True, False)
        if not (seed in (0, 2) and width == 1 and escape)
    ]


def test_every_setting_of_a_measurement_can_be_an_axis() -> None:
    for name, (_, item) in flat_settings().items():
        value = item.default if isinstance(item.default, bool | int | float | str) else str(item.default).lower()
        assert len(read_sweep({"grid": {name: [value]}})) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "at least one axis"),
        ({"grid": {}}, "at least one axis"),
        ({"gird": {}}, 'did you mean "grid"'),
        ({"seed": [0]}, r"stands under \[base\]"),
        ({"grid": [1]}, r"grid is a table, got \[1\]"),
        ({"zip": [1]}, r"write \[\[zip\]\]"),
        ({"name": 3, "grid": {"seed": [0]}}, "name is a short text"),
        ({"base": {"seed": [0]}}, r"\[base\] seed is one value"),
        ({"grid": {"seed": []}}, "at least one value"),
        ({"grid": {"seed": 3}}, r"write \[3\]"),
        ({"grid": {"seed": [1, 1]}}, "lists a value once"),
        ({"grid": {"seed": {"range": [0, 2, 0.5]}}}, "whole number"),
        ({"base": {"seed": 0}, "grid": {"seed": [1]}}, r'"seed" in \[base\] and \[grid\]'),
        ({"grid": {"seed": [1]}, "zip": {"seed": [1]}}, r'"seed" in \[grid\] and \[\[zip\]\] 1'),
        ({"zip": {"seed": [1, 2], "n_max": [3]}}, "seed 2, n_max 1"),
        ({"zip": {}}, "an empty"),
        ({"grid": {"seed": {"range": [0, MAX_CELLS]}}}, "at most 1,000,000 cells, got 1,000,001; shorten"),
        ({"grid": {name: {"range": [1, 1000]} for name in ("seed", "n_max", "replicates")}}, "got 1,000,000,000"),
        ({"zip": {name: {"range": [1, 400_000]} for name in ("seed", "n_max", "replicates")}}, "at most 1,000,000"),
        ({"grid": {"seed": [0]}, "exclude": {}}, "known are seed"),
        ({"grid": {"seed": [0]}, "exclude": {"sed": 0}}, 'did you mean "seed"'),
        ({"grid": {"seed": [0]}, "exclude": {"seed": 1}}, "values of its axis, got 1"),
        ({"grid": {"seed": [0]}, "exclude": {"seed": "a"}}, "whole number"),
        ({"grid": {"seed": [0, 1]}, "exclude": {"seed": [0, 1]}}, "all of them excluded"),
        ({"zip": {"seed": [0, 1], "n_max": [5, 6]}, "exclude": {"seed": 0, "n_max": 6}}, "matches at least one cell"),
        ({"grid": {"seed": [0]}, "execution": {"devise": "cpu"}}, 'did you mean "device"'),
        ({"grid": {"seed": [0]}, "execution": {"device": "gpu"}}, r"in \[execution\] device"),
        ({"grid": {"seed": [0]}, "execution": {"seed": 1}}, r"move it to \[base\]"),
        ({"grid": {"device": ["cpu"]}}, r"once, under \[execution\]"),
        ({"grid": {"seed": range(10)}, "exclude": [{"seed": 1}] * 2_000_001}, "exclusions times cells"),
    ],
)
def test_every_mistake_is_one_sentence(content: dict[str, Any], words: str) -> None:
    with pytest.raises((SpecError, UnknownNameError), match=words) as caught:
        read_sweep(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[grid", "valid TOML"),
        ('[grid]\nmodel = ["mlp"]\nmodel.width = [3]', 'quoted, "model.width"'),
        ("[grid]\nseed = [1, 'x']", "whole number.*sweep.toml"),
        ("x = " + "[" * 5000, "valid TOML"),
        ("[grid]\nseed = [0x" + "f" * 5000 + "]", "takes numbers"),
        ("[grid]\nseed = [" + "9" * 5000 + "]", "valid TOML"),
        ("[grid]\nseed = [1979-05-27]", "takes numbers"),
        ("#" + "x" * 1_000_001, "at most 1,000,000 bytes"),
    ],
)
def test_a_broken_file_is_told_with_its_path(file: Callable[[str], Path], text: str, words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        read_sweep(file(text))
    assert "sweep.toml" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="must exist"):
        read_sweep(tmp_path / "none.toml")
    with pytest.raises(SpecError, match="must be readable"):
        read_sweep(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="valid TOML"):
        read_sweep(tmp_path / "bytes.toml")


def test_a_million_cells_are_made_when_asked_for() -> None:
    sweep = read_sweep({"grid": {"seed": {"range": [0, 999]}, "n_max": {"range": [20, 1019]}}, "exclude": {"seed": 7}})
    assert len(sweep) == 999_000
    assert dict(sweep[7000].settings) == {"seed": 8, "n_max": 20}


def test_an_option_beside_its_plugin_is_given_once() -> None:
    assert str(join_options({"optimizer.lr": 0.5})["optimizer"]) == "adam:lr=0.5"
    with pytest.raises(SpecError, match=r'"model\.width" beside model "mlp:width=2"'):
        join_options({"model": "mlp:width=2", "model.width": 3})
    with pytest.raises(SpecError, match="an option of tune, got none"):
        join_options({"tune.rates": 3})


@pytest.mark.parametrize("text", ["", "a", "3-", "-3", "4-3", "0", "11", "1,,2", "1" * 20, "1.5"])
def test_numbers_of_no_cell_are_told(text: str) -> None:
    with pytest.raises(SpecError, match="--cells"):
        read_numbers(text, 10)


NAMES = st.sampled_from([*flat_settings(), "model.width", "device", "nonsense", "a.b", ""])
SCALARS = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=8),
    st.none(),
    st.dates(),
    st.sampled_from(["mlp", "none"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["range", "log2", "log10", "geometric", "width", "x"]), inner, max_size=2),
    ),
    max_leaves=6,
)
TABLES = st.dictionaries(NAMES, VALUES, max_size=4)
NONSENSE = st.dictionaries(
    st.sampled_from(["name", "base", "grid", "zip", "exclude", "execution", "x"]),
    st.one_of(TABLES, st.lists(TABLES, max_size=3), VALUES),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(NONSENSE)
def test_nonsense_gives_cells_or_one_sentence(content: dict[str, Any]) -> None:
    try:
        sweep = read_sweep(content)
    except EmcError:
        return
    assert 1 <= len(sweep) <= MAX_CELLS
    for place in {0, len(sweep) - 1, random.Random(0).randrange(len(sweep))}:
        with suppress(EmcError):
            sweep[place].measurement()
