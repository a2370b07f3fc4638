from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError, asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import searches, sizes

from emc.errors import SpecError, UnknownNameError
from emc.registry import PluginSpec
from emc.specs import (
    Execution,
    Measurement,
    Probe,
    Procedure,
    Search,
    Spec,
    Task,
    digest,
    flat_settings,
    option_name,
)

SPECS: dict[str, type[Spec]] = {"task": Task, "procedure": Procedure, "search": Search, "": Measurement}
ALL = [
    *((SPECS[part], item) for part, item in flat_settings().values()),
    *((Execution, item) for item in fields(Execution)),
]
NAMES = [item.name for _, item in ALL]
PLUGINS = st.sampled_from(["one", "two:p=0.5", "three:path=a,b,q=true"]).map(PluginSpec.parse)


def bounded(end: str) -> list[Any]:
    return [pytest.param(spec, item, id=item.name) for spec, item in ALL if item.metadata.get(end) is not None]


def values(item: Any) -> st.SearchStrategy[Any]:
    """What a setting may be, from its declaration."""
    kind, low, high = item.type.removesuffix(" | None"), item.metadata.get("low"), item.metadata.get("high")
    if "choices" in item.metadata:
        found: st.SearchStrategy[Any] = st.sampled_from(item.metadata["choices"])
    elif kind == "PluginSpec":
        found = PLUGINS
    else:
        found = {
            "int": st.integers(low, high),
            "float": st.floats(low, high, allow_nan=False, allow_infinity=False),
            "bool": st.booleans(),
            "str": st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        }[kind]
    return found | st.none() if item.type.endswith(" | None") else found


def built(spec: type[Spec], *skip: str) -> st.SearchStrategy[Any]:
    return st.builds(spec, **{item.name: values(item) for item in fields(spec) if item.name not in skip})  # type: ignore[arg-type]


SEARCHES = st.builds(
    lambda search, ends: replace(search, n_start=ends[0], n_max=ends[1]), searches(), st.just((None, None)) | sizes()
)
OWN = ("train", "command", "content")
BUDGETS = {"min_steps": st.integers(1, 10**6), "max_epochs": st.integers(1, 10**4), "batch_size": st.integers(2, 512)}
PROCEDURES = (
    built(Procedure, "escape", "label_smoothing", *OWN)
    | built(Procedure, "certify", "loss", *OWN)
    | st.builds(Procedure, train=PLUGINS, content=st.none() | st.sampled_from(["abc", ""]), **BUDGETS)
    | st.builds(Procedure, command=st.just("a {data}"), content=st.none() | st.just("abc"))
)
MEASUREMENTS = st.builds(
    Measurement,
    task=built(Task),
    procedure=PROCEDURES,
    search=SEARCHES,
    seed=st.integers(0, 2**64),
    replicates=st.integers(1, 100),
    confidence=st.floats(0.5, 0.9999),
)


@settings(max_examples=50)
@given(MEASUREMENTS)
def test_a_measurement_survives_json(measurement: Measurement) -> None:
    text = json.dumps(measurement.to_dict(), allow_nan=False)
    assert Measurement.from_dict(json.loads(text)) == measurement


@given(built(Execution, "journal", "checkpoint_every"), st.none() | st.text())
def test_an_execution_survives_json(execution: Execution, journal: str | None) -> None:
    execution = replace(execution, journal=journal)
    assert Execution.from_dict(json.loads(json.dumps(execution.to_dict()))) == execution


@settings(max_examples=50)
@given(MEASUREMENTS)
def test_flat_settings_build_the_same_tree(measurement: Measurement) -> None:
    parts = {
        "task": measurement.task,
        "procedure": measurement.procedure,
        "search": measurement.search,
        "": measurement,
    }
    flat = {name: getattr(parts[part], name) for name, (part, _) in flat_settings().items()}
    assert Measurement.from_flat(flat) == measurement


def test_every_setting_is_flat_and_has_one_home() -> None:
    homes = [item.name for spec in (Task, Procedure, Search) for item in fields(spec)]
    homes += [item.name for item in fields(Measurement) if item.name not in SPECS]
    assert list(flat_settings()) == homes
    assert len(set(NAMES)) == len(NAMES), "Execution included, so that one name is one option"


@pytest.mark.parametrize(("spec", "item"), [pytest.param(spec, item, id=item.name) for spec, item in ALL])
def test_every_setting_has_a_help_and_a_default_it_would_take(spec: type[Spec], item: Any) -> None:
    assert item.metadata["help"]
    default = getattr(spec(), item.name)
    assert getattr(spec(**{item.name: default}), item.name) == default


@pytest.mark.parametrize(("spec", "item"), bounded("low"))
def test_the_lower_bound_is_allowed_and_less_is_not(spec: type[Spec], item: Any) -> None:
    low = item.metadata["low"]
    assert getattr(spec(**{item.name: low}), item.name) == low
    less = low - 1 if item.type.startswith("int") else low - 1e-9
    with pytest.raises(SpecError, match=rf"^{option_name(item.name)} must be (at least|between) {low}.*, got {less}$"):
        spec(**{item.name: less})


@pytest.mark.parametrize(("spec", "item"), bounded("high"))
def test_the_upper_bound_is_allowed_and_more_is_not(spec: type[Spec], item: Any) -> None:
    high = item.metadata["high"]
    assert getattr(spec(**{item.name: high}), item.name) == high
    with pytest.raises(SpecError, match=rf"^{option_name(item.name)} must be between .* and {high}, got {high + 1}"):
        spec(**{item.name: high + 1})


@pytest.mark.parametrize(("spec", "item"), bounded("choices"))
def test_a_closed_choice_takes_its_values_and_no_other(spec: type[Spec], item: Any) -> None:
    for choice in item.metadata["choices"]:
        assert getattr(spec(**{item.name: choice}), item.name) == choice
    known = ", ".join(item.metadata["choices"])
    with pytest.raises(SpecError, match=rf'^{option_name(item.name)} is one of {known}, got "zzz"; known are [\w, ]+$'):
        spec(**{item.name: "zzz"})


def test_a_mistyped_choice_names_the_nearest() -> None:
    message = '--precision is one of float32, float64, got "float46"; did you mean "float64"?'
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        Procedure(precision="float46")


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("model", 3, "--model takes a name or name:key=value,key=value, got 3"),
        ("model", None, "--model takes a name or name:key=value,key=value, got None"),
        ("batch_size", 1.5, "--batch-size takes a whole number, got 1.5"),
        ("batch_size", "128", "--batch-size takes a whole number, got '128'"),
        ("batch_size", True, "--batch-size takes a whole number, got True"),
        ("batch_size", None, "--batch-size takes a whole number, got None"),
        ("batch_size", float("inf"), "--batch-size takes a whole number, got inf"),
        ("batch_size", float("nan"), "--batch-size takes a whole number, got nan"),
        ("stall_share", False, "--stall-share takes a number, got False"),
        ("stall_share", "0.5", "--stall-share takes a number, got '0.5'"),
        ("stall_share", float("nan"), "--stall-share must be between 0 and 1, got nan"),
        ("tf32", 1, "--tf32 takes true or false, got 1"),
        ("precision", 32, "--precision takes a text, got 32"),
        ("n_max", float("inf"), "--n-max takes a whole number, got inf"),
    ],
)
def test_a_value_of_the_wrong_type_is_one_sentence(name: str, given: Any, message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        Measurement.from_flat({name: given})


@pytest.mark.parametrize("name", ["seed", "tolerance"])
def test_a_number_beyond_every_float_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=rf"^--{name} takes a (whole )?number, got 10+ \.\.\.$"):
        Measurement.from_flat({name: 10**400})


def test_values_become_their_declared_types() -> None:
    procedure = Procedure(model="mlp:width=16", batch_size=64.0, stall_share=1, activation=None)  # type: ignore[arg-type]
    assert procedure.model == PluginSpec("mlp", (("width", "16"),))
    assert (procedure.batch_size, type(procedure.batch_size)) == (64, int)
    assert (procedure.stall_share, type(procedure.stall_share)) == (1.0, float)
    assert procedure.activation is None


def test_large_whole_numbers_stay_exact() -> None:
    assert Measurement(seed=2**53 + 1).seed == 2**53 + 1


def test_parts_may_be_given_as_mappings() -> None:
    assert Measurement(task={"labels": "random"}) == Measurement(task=Task(labels=PluginSpec("random")))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"^--task takes a Task, got 3$"):
        Measurement(task=3)  # type: ignore[arg-type]


def test_specs_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'batch_size'"):
        Procedure().batch_size = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimiser": "adam"}, 'there is no setting "optimiser"; did you mean "optimizer"?'),
        ({"task": {}}, 'there is no setting "task"; did you mean '),
        ({"device": "cpu"}, 'there is no setting "device"; '),
    ],
)
def test_an_unknown_flat_setting_names_the_nearest(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=f"^{re.escape(message)}"):
        Measurement.from_flat(values)


def test_an_unknown_key_of_a_part_names_the_part_and_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r'^a procedure has no setting "batchsize"; did you mean "batch_size"\?$'
    ):
        Measurement.from_dict({"procedure": {"batchsize": 3}})
    with pytest.raises(UnknownNameError, match=r'^a measurement has no setting "seeds"; did you mean "seed"\?$'):
        Measurement.from_dict({"seeds": 3})


@pytest.mark.parametrize(
    ("n", "batch_size", "steps", "every"),
    [
        (1, 1, 20_000, 100),
        (5_120, 128, 20_000, 100),
        (5_121, 128, 20_500, 100),
        (50_000, 128, 195_500, 782),
        (50_000, 50_000, 20_000, 100),
    ],
)
def test_budgets_and_cadences_are_known(n: int, batch_size: int, steps: int, every: int) -> None:
    procedure = Procedure(min_steps=20_000, max_epochs=500, check_steps=100, check_epochs=2)
    assert procedure.budget(n, batch_size) == steps
    assert procedure.check_every(n, batch_size) == every


@given(st.integers(1, 10**8), st.integers(1, 10**5), st.integers(1, 10**6), st.integers(1, 1000), st.integers(0, 50))
def test_a_budget_is_the_larger_of_steps_and_epochs(
    n: int, batch_size: int, steps: int, epochs: int, check_epochs: int
) -> None:
    procedure = Procedure(min_steps=steps, max_epochs=epochs, check_steps=steps, check_epochs=check_epochs)
    steps_an_epoch = (n + batch_size - 1) // batch_size
    assert procedure.budget(n, batch_size) == max(steps, epochs * steps_an_epoch)
    assert procedure.check_every(n, batch_size) == max(steps, check_epochs * steps_an_epoch)


@pytest.mark.parametrize(
    ("growth", "message"),
    [
        ("geometric:factor=1", "growth geometric needs a factor above 1 and at most 1,000,000, got 1.0"),
        ("geometric:factor=inf", "growth geometric needs a factor above 1 and at most 1,000,000, got inf"),
        ("linear:step=0", "growth linear needs a step of at least 1, got 0"),
    ],
)
def test_a_search_that_would_not_grow_is_refused(growth: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        Search(growth=growth)  # type: ignore[arg-type]


def test_a_search_ends_at_or_above_its_start() -> None:
    assert Search(n_start=16, n_max=16).sizes == (16, 16)
    with pytest.raises(SpecError, match=r"^n_max must be at least n_start, got n_max=15, n_start=16; raise --n-max$"):
        Search(n_start=16, n_max=15)


def test_an_escape_needs_the_curvature() -> None:
    assert Procedure(escape=True).certify == "hessian"
    message = "--escape needs the curvature of --certify hessian, got none; leave one of them out"
    with pytest.raises(SpecError, match=f"^{message}$"):
        Procedure(escape=True, certify="none")


def test_sizes_that_only_the_pool_tells_are_not_guessed() -> None:
    with pytest.raises(SpecError, match="n_start and n_max resolved, got 16 and None"):
        _ = Search(n_start=16).sizes


def test_a_growth_with_its_default_written_out_is_the_same_search() -> None:
    assert Search(growth="geometric") == Search(growth="geometric:factor=2") == Search()  # type: ignore[arg-type]
    assert Search().to_dict()["growth"] == "geometric:factor=2.0"


@pytest.mark.parametrize(
    ("search", "estimand"),
    [
        (Search(), "n50"),
        (Search(growth="geometric:factor=3", sections=4, verify=2, retries=0, tolerance=0), "n50"),  # type: ignore[arg-type]
        (Search(growth="linear:step=5"), "first failure of a linear scan by 5"),  # type: ignore[arg-type]
        (Search(attempts=3), "n50, best of 3 inits"),
        (Search(criterion="error<=0.10"), "largest n of mean training error<=0.1"),
        (Search(criterion="loss <= 1e-6", attempts=2), "n50 of training loss<=1e-06, best of 2 inits"),
        (
            Search(criterion="error<=0", growth="linear:step=5"),  # type: ignore[arg-type]
            "first failure of a linear scan by 5 of mean training error<=0.0",
        ),
        (Search(growth="linear", attempts=2), "first failure of a linear scan by 16, best of 2 inits"),  # type: ignore[arg-type]
    ],
)
def test_the_estimand_names_what_changes_the_quantity_and_nothing_else(search: Search, estimand: str) -> None:
    assert search.estimand == estimand


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ("fitt", '--criterion is fit, "error<=0.1" or "loss<=1e-6", got "fitt"; write one of these'),
        ("error<0.1", 'got "error<0.1"; write one'),
        ("error<=nan", 'got "error<=nan"; write one'),
        ("error<=ten", 'got "error<=ten"; write one'),
        ("error<=1.5", "--criterion error takes a bound from 0 to below 1, got 1.5; write error<=0.1"),
        ("error<=1", "from 0 to below 1, got 1; write"),
        ("error<=-0.1", "from 0 to below 1, got -0.1; write"),
        ("loss<=-1", "--criterion loss takes a bound above 0 and finite, got -1; write loss<=1e-6"),
        ("loss<=0", "above 0 and finite, got 0; write"),
        ("loss<=inf", "above 0 and finite, got inf; write"),
    ],
)
def test_criteria_that_cannot_be(criterion: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Search(criterion=criterion)


def test_a_mean_is_not_taken_over_the_best_of_inits() -> None:
    with pytest.raises(SpecError, match=r"error<=0\.1 averages over single inits, got --attempts 2; leave it out"):
        Search(criterion="error<=0.1", attempts=2)


def test_the_estimand_of_a_loss_names_the_loss() -> None:
    named = Measurement.from_flat({"criterion": "loss<=0.1", "loss": "squared"}).estimand
    assert named == "n50 of training loss<=0.1 (squared)"
    assert Measurement.from_flat({"loss": "squared"}).estimand == "n50"


def test_digests_do_not_depend_on_the_order_of_keys_but_on_every_value() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    others = [{"a": 1, "b": [3, 2]}, {"a": 1, "b": [2, "3"]}, {"a": 1, "b": [2, 3], "c": None}, {"a": 1.5, "b": [2, 3]}]
    assert len({digest(value) for value in [{"a": 1, "b": [2, 3]}, *others]}) == 5


def test_digests_are_those_of_earlier_versions() -> None:
    assert digest({"b": 1, "a": [None, True, 0.5, "x"]}) == "d915cf43913faa139dff15b8"
    assert digest([], 16) == "4f53cda18c2baa0c"
    assert Probe("base", 100, 2, 1).key == "5871c8274af9d9386a70a872"
    odd = Probe('é "quoted" \\', 1, 0)
    assert odd.key == digest(asdict(odd))


@pytest.mark.parametrize("change", [{"base": "other"}, {"n": 101}, {"replicate": 3}, {"attempt": 2}])
def test_every_field_of_a_probe_changes_its_key(change: dict[str, Any]) -> None:
    probe = Probe("base", 100, 2, 1)
    assert replace(probe, **change).key != probe.key
    assert [item.name for item in fields(Probe)] == ["base", "n", "replicate", "attempt"]


def test_probes_that_swap_numbers_have_other_keys() -> None:
    keys = {Probe("base", n, replicate, attempt).key for n in (1, 2) for replicate in (1, 2) for attempt in (1, 2)}
    assert len(keys) == 8


@pytest.mark.parametrize("name", flat_settings())
def test_every_setting_of_a_measurement_changes_its_digest(name: str) -> None:
    part, item = flat_settings()[name]
    default = Measurement()
    held = getattr(default if part == "" else getattr(default, part), name)
    if "choices" in item.metadata:
        other = next(choice for choice in item.metadata["choices"] if choice != held)
    elif "PluginSpec" in item.type:
        other = "linear"
    elif name == "criterion":
        other = "loss<=0.1"
    elif "str" in item.type:
        other = "another {data}"
    else:
        other = {"bool": True, "float": 0.7}.get(item.type, (held or 20) + 1)
    changed = Measurement.from_flat({name: other})
    assert digest(changed.to_dict()) != digest(default.to_dict())


def test_training_anew_goes_on_from_no_checkpoint() -> None:
    with pytest.raises(SpecError, match="--checkpoint-every is for runs that continue, got --fresh too"):
        Execution(fresh=True, checkpoint_every=60)
