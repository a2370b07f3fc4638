from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click
import pytest
from click.testing import Result

from emc.cli.config import build_specs
from emc.cli.kinds import KINDS
from emc.cli.measure import measure
from emc.cli.options import default_journal, settings
from emc.specs import Execution, Measurement, flat_settings, option_name

Run = Callable[..., Result]
Mistake = Callable[..., str]

#: Options of `emc measure` that are no setting: where results go and how much is said.
OTHERS = {"config", "data_root", "json_path", "plot_path", "dry_run", "quiet", "verbose", "debug"}


def _options() -> dict[str, click.Option]:
    return {str(param.name): param for param in measure.params if isinstance(param, click.Option)}


def test_every_setting_has_an_option_and_every_option_a_setting() -> None:
    declared = set(flat_settings()) | {item.name for item in fields(Execution)}
    assert set(settings()) == declared
    assert set(_options()) - OTHERS == declared
    for name in declared:
        assert option_name(name) in _options()[name].opts


def test_no_setting_lives_in_two_parts() -> None:
    assert len(settings()) == len(flat_settings()) + len(fields(Execution))


def test_every_plugin_setting_has_a_kind() -> None:
    plugins = {name for name, setting in settings().items() if setting.kind == "PluginSpec"}
    assert {kind.setting for kind in KINDS} == plugins


def test_help_groups_options_by_part_and_tells_defaults_and_ranges(run: Run) -> None:
    text = " ".join(run("measure", "--help").stdout.split())
    titles = ["Task (", "Procedure (", "Search (", "Measurement (", "Execution (", "Input, output and display:"]
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    assert places[0] < text.index("--data ") < places[1] < text.index("--model ") < places[2]
    assert places[3] < text.index("--replicates ") < places[4] < text.index("--device ") < places[5]
    for setting in settings().values():
        assert setting.field.metadata["help"] in text
    assert "[default: 128; at least 2]" in text
    assert "[drop|keep]" in text
    assert "[default: .emc/journal.jsonl, or $EMC_JOURNAL; none keeps nothing]" in text


def test_nothing_given_is_every_default(run: Run, fake_api: Any) -> None:
    assert run("measure").exit_code == 0
    assert fake_api.measurement == Measurement()
    assert fake_api.execution == Execution(journal=default_journal())


def _other_value(name: str) -> tuple[str, Any]:
    """A legal value that is not the default: as text, and as the record holds it."""
    setting = settings()[name]
    facts, default = setting.field.metadata, setting.field.default
    if "choices" in facts:
        value = next(choice for choice in facts["choices"] if choice != default)
        return value, value
    if setting.kind in ("int", "float"):
        number: Any = facts["low"] + 1 if "high" not in facts else (facts["low"] + facts["high"]) / 2
        number = int(number) if setting.kind == "int" else float(number)
        return str(number), number
    if name == "growth":
        return "linear:step=7", "linear:step=7"
    if name == "criterion":
        return "error<=0.2", "error<=0.2"
    return "zebra:stripes=3", "zebra:stripes=3"


@pytest.mark.parametrize("name", [name for name, setting in settings().items() if setting.kind != "bool"])
def test_each_option_sets_its_field_and_no_other(run: Run, fake_api: Any, name: str) -> None:
    text, value = _other_value(name)
    expected = "zebra:stripes=3" if name == "journal" else value
    assert run("measure", option_name(name), text).exit_code == 0
    assert (fake_api.measurement, fake_api.execution) == build_specs({"journal": default_journal()} | {name: expected})
    assert (fake_api.measurement, fake_api.execution) != build_specs({"journal": default_journal()})


@pytest.mark.parametrize("name", [name for name, setting in settings().items() if setting.kind == "bool"])
@pytest.mark.parametrize("value", [True, False])
def test_flags_have_both_senses(run: Run, fake_api: Any, name: str, value: bool) -> None:
    flag = option_name(name) if value else "--no-" + option_name(name)[2:]
    assert run("measure", flag).exit_code == 0
    assert (fake_api.measurement, fake_api.execution) == build_specs({"journal": default_journal(), name: value})


def test_numbers_may_be_written_in_powers(run: Run, fake_api: Any) -> None:
    run("measure", "--n-max", "1e3", "--gradient-tolerance", "1e-4")
    assert fake_api.measurement.search.n_max == 1000
    assert fake_api.measurement.procedure.gradient_tolerance == 1e-4


def test_none_unsets_what_may_be_unset(run: Run, fake_api: Any) -> None:
    run("measure", "--journal", "none", "--n-max", "none")
    assert fake_api.execution.journal is None
    assert fake_api.measurement.search.n_max is None


def test_the_environment_names_the_journal(run: Run, fake_api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMC_JOURNAL", "/tmp/elsewhere.jsonl")
    run("measure")
    assert fake_api.execution.journal == "/tmp/elsewhere.jsonl"
    run("measure", "--journal", "mine.jsonl")
    assert fake_api.execution.journal == "mine.jsonl"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--n-max", "many"], "--n-max takes a whole number, got 'many'"),
        (["--n-max", "1.5"], "--n-max takes a whole number, got 1.5"),
        (["--n-max", "nan"], "--n-max takes a whole number, got 'nan'"),
        (["--n-max", "inf"], "--n-max takes a whole number, got 'inf'"),
        (["--batch-size", "none"], "--batch-size takes a whole number, got 'none'"),
        (["--batch-size", "1"], "--batch-size must be at least 2, got 1"),
        (["--confidence", "1.5"], "--confidence must be between 0.5 and 0.9999, got 1.5"),
        (
            ["--n-start", "50", "--n-max", "10"],
            "n_max must be at least n_start, got n_max=10, n_start=50; raise --n-max",
        ),
        (["--model", "mlp:"], 'a plug-in is written name or name:key=value,key=value, got "mlp:"'),
        (["--model", ""], 'a plug-in is written name or name:key=value,key=value, got ""'),
        (["--growth", "linaer"], 'there is no growth "linaer"; did you mean "linear"?'),
    ],
)
def test_wrong_values_are_the_specs_own_sentences(
    mistake: Mistake, fake_api: Any, words: list[str], sentence: str
) -> None:
    assert mistake("measure", *words) == sentence
    assert not fake_api.calls


def test_a_wrong_choice_names_the_near_one(mistake: Mistake) -> None:
    sentence = mistake("measure", "--duplicates", "dorp")
    assert sentence.startswith("--duplicates is one of drop, keep, got")
    assert sentence.endswith('did you mean "drop"?')


def test_tune_alone_is_the_default_tuner(run: Run, fake_api: Any) -> None:
    assert run("measure", "--tune", "--seed", "3").exit_code == 0
    assert str(fake_api.measurement.tune) == "halving"
    assert fake_api.measurement.seed == 3
    run("measure", "--seed", "3", "--tune")
    assert str(fake_api.measurement.tune) == "halving"
    run("measure", "--tune", "halving:rates=7")
    assert str(fake_api.measurement.tune) == "halving:rates=7"
    run("measure", "--tune", "none")
    assert fake_api.measurement.tune is None
    assert "[alone: halving]" in " ".join(run("measure", "--help").stdout.split())
