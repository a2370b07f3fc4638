"""`emc.measure` and `prepare`, with real trainings of tiny nets."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import OracleExecutor, memoriser, walk
from torch import nn

import emc
from emc.api import Prepared, prepare
from emc.errors import DataError, JournalError, SpecError, TrainingError, UnknownNameError
from emc.journal import read
from emc.reparams.modules.wrapped import Sizes
from emc.results import EmcResult, Evidence, Progress, Status, Verdict
from emc.search.path import asked_at
from emc.specs import Execution, Measurement

TINY: dict[str, Any] = {
    "model": "mlp:width=4",
    "labels": "random",
    "optimizer": "adam:lr=0.1",
    "min_steps": 60,
    "max_epochs": 1,
    "check_steps": 20,
    "n_max": 40,
    "tolerance": 0.2,
    "replicates": 2,
}

RNG = np.random.default_rng(0)
ARRAYS = (RNG.standard_normal((40, 3)), np.repeat(["no", "yes"], 20))


@pytest.fixture(autouse=True)
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every verdict is synced and told as it comes, however slow the disk."""
    monkeypatch.setattr("emc.journal.shared_file.SYNC_SHARE", 1.0)


def tiny(journal: Path | None = None, observer: Any = None, **changes: Any) -> EmcResult:
    """Without asking ahead: what is asked then depends on which thread ends first."""
    return emc.measure(journal=journal, observer=observer, **(TINY | {"speculation": 1} | changes))


def linear_model(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Linear(shape[0], classes)


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_seconds(item) for key, item in value.items() if key != "seconds"}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


def record(result: EmcResult) -> dict[str, Any]:
    """What `--json` writes, without timings."""
    plain: dict[str, Any] = without_seconds(json.loads(result.to_json()))
    return plain


def lines(journal: Path) -> list[dict[str, Any]]:
    """The verdicts it holds."""
    return list(read(journal, "probe"))


def press_after(verdicts: int) -> Callable[[Progress], None]:
    def press(progress: Progress) -> None:
        if progress.probes >= verdicts:
            raise KeyboardInterrupt

    return press


@pytest.fixture(scope="module")
def undisturbed() -> EmcResult:
    return tiny()


def test_a_measurement_by_names_says_what_was_measured(undisturbed: EmcResult) -> None:
    result = undisturbed
    assert result.task == {
        "data": "digits",
        "labels": "random",
        "inputs": "natural",
        "classes": None,
        "duplicates": "drop",
        "test_split": 0.0,
    }
    assert result.procedure["model"] == "mlp:width=4,depth=1"
    assert (result.procedure["activation"], result.procedure["min_steps"]) == ("relu", 60)
    assert (result.search["n_start"], result.search["n_max"], result.estimand) == (16, 40, "n50")
    assert result.dataset["rows"] == 1797
    assert result.parameters == 64 * 4 + 4 + 4 * 10 + 10
    assert (result.versions["device"], result.versions["trainer"]) == ("cpu", "compiled")
    assert [replicate.replicate for replicate in result.replicates] == [0, 1]


def test_every_replicate_rests_on_probes_that_were_trained(undisturbed: EmcResult) -> None:
    for replicate in undisturbed.replicates:
        own = {probe.n: probe for probe in undisturbed.probes if probe.replicate == replicate.replicate}
        if replicate.lower > 0:
            assert (own[replicate.lower].verdict, own[replicate.lower].correct) == (Verdict.FITTED, replicate.lower)
        assert replicate.upper is not None
        assert own[replicate.upper].verdict is Verdict.NOT_FITTED
        assert own[replicate.upper].correct < replicate.upper
        assert own[replicate.upper].key == replicate.deciding


def test_the_cost_is_the_sum_over_the_probes(undisturbed: EmcResult) -> None:
    cost, probes = undisturbed.cost, undisturbed.probes
    assert cost["probes"] == len(probes) > 2
    assert cost["steps"] == sum(probe.steps for probe in probes) > 0
    assert cost["sample_steps"] == sum(probe.steps * min(probe.n, 128) for probe in probes)
    assert cost["seconds"] == pytest.approx(sum(probe.seconds for probe in probes))


def test_bits_are_counted_where_labels_are_uniform(undisturbed: EmcResult) -> None:
    assert undisturbed.bits_per_parameter == pytest.approx(undisturbed.emc * np.log2(10) / undisturbed.parameters)
    assert undisturbed.bits_per_bit == pytest.approx(undisturbed.emc * np.log2(10) / undisturbed.bits)
    shuffled = tiny(labels="shuffled", replicates=1, n_max=16)
    assert (shuffled.bits_per_parameter, shuffled.bits_per_bit) == (None, None)


def test_sizes_are_reported_in_three_ways(undisturbed: EmcResult) -> None:
    assert (undisturbed.parameters, undisturbed.stored, undisturbed.bits) == (310, 310, 32 * 310)
    subspace = prepare(Measurement.from_flat({"model": "mlp:width=4", "reparam": "subspace:9", "precision": "float64"}))
    assert subspace.parameters == 9
    assert subspace.sizes == Sizes(9, 310, 64 * 9)
    assert subspace.rough_cost()["flops"] == 6 * 310 * subspace.rough_cost()["sample_steps"]


def test_the_same_call_twice_gives_the_same_record(undisturbed: EmcResult) -> None:
    assert record(tiny()) == record(undisturbed)
    assert record(tiny(seed=1)) != record(undisturbed)


def test_a_record_survives_its_round_trip(undisturbed: EmcResult) -> None:
    assert EmcResult.from_dict(json.loads(undisturbed.to_json())) == undisturbed


def test_a_model_found_by_its_size_says_so_and_shares_its_probes(tmp_path: Path) -> None:
    settings: dict[str, Any] = TINY | {"n_max": 16, "replicates": 1, "journal": tmp_path / "journal.jsonl"}
    found = emc.measure(**settings | {"model": "mlp", "match_parameters": 300})
    assert found.matched is not None
    assert (found.parameters, found.matched["asked"], found.matched["ratio"]) == (310, 300, 310 / 300)
    row = "310 of 300 parameters asked for (ratio 1.033), by recipe width from mlp:width=16,depth=1"
    assert ("matched", row) in found.rows()
    assert EmcResult.from_dict(json.loads(found.to_json())).matched == found.matched
    (named,) = read(settings["journal"], "measurement")
    assert named["cell"] | {"match_parameters": 300} == named["cell"]
    assert list(emc.load(settings["journal"])["match_parameters"]) == [300]
    again = emc.measure(**settings)
    assert again.matched is None
    assert (again.fingerprint, again.probes) == (found.fingerprint, found.probes)


@pytest.mark.parametrize("how", [{"workers": 1}, {"workers": 3}, {"stack": 1}, {"threads": 1}])
def test_how_probes_are_run_changes_nothing(undisturbed: EmcResult, how: dict[str, int]) -> None:
    assert record(tiny(**how)) == record(undisturbed)


@pytest.mark.parametrize("verdicts", [0, 1, 3])
def test_a_journal_continues_to_the_same_result(undisturbed: EmcResult, tmp_path: Path, verdicts: int) -> None:
    journal = tmp_path / "journal.jsonl"
    cut_off = tiny(journal, press_after(verdicts), workers=1)
    assert Status.INTERRUPTED in {replicate.status for replicate in cut_off.replicates}
    assert cut_off.censored
    known = {line["key"] for line in lines(journal)}
    assert {probe.key for probe in cut_off.probes} <= known
    assert len(known) < len(undisturbed.probes)
    assert record(tiny(journal)) == record(undisturbed)
    keys = [line["key"] for line in lines(journal)]
    assert len(keys) == len(set(keys)) == len(undisturbed.probes)


def test_an_interruption_counts_the_trainings_it_broke_off() -> None:
    cut_off = tiny(None, press_after(1), replicates=4, trainer="lockstep")
    spent = cut_off.unused
    assert (spent["probes"], spent["unfinished"]) == (0, 2), "of four, two ended at the same count"
    assert spent["steps"] >= 60
    assert spent["sample_steps"] >= 16 * 60
    assert spent["seconds"] > 0
    assert "also trained and not used: 2 broken off" in dict(cut_off.rows())["cost"]
    assert EmcResult.from_dict(json.loads(cut_off.to_json())) == cut_off


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, TrainingError("a training")])
def test_the_executor_is_let_go_of_however_it_ends(
    error: BaseException | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = OracleExecutor(memoriser(30))

    def end(_: Progress) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr("emc.session.make_executor", lambda *_: executor)
    with pytest.raises(TrainingError, match="a training") if isinstance(error, TrainingError) else nullcontext():
        tiny(observer=end)
    assert executor.closed


def test_idle_room_changes_no_number_and_its_cost_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for slots in (1, 16):
        monkeypatch.setattr("emc.session.make_executor", lambda *_, s=slots: OracleExecutor(memoriser(30), slots=s))
        found.append(tiny(speculation=None))
    alone, ahead = found
    assert alone.unused == {}
    assert ahead.unused["probes"] + ahead.unused["unfinished"] > 0
    assert record(replace(ahead, unused={})) == record(alone)
    assert "also trained and not used" in dict(ahead.rows())["cost"]


def test_what_the_journal_holds_is_not_trained_again(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    first = tiny(journal)
    before = lines(journal)
    seen: list[Progress] = []
    second = tiny(journal, seen.append)
    assert second == first, "timings too, since they are the journal's"
    assert lines(journal) == before
    assert seen == []


def test_fresh_trains_again(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    first = tiny(journal)
    assert record(tiny(journal, fresh=True)) == record(first)
    keys = [line["key"] for line in lines(journal)]
    assert keys.count(keys[0]) == 2
    assert len(keys) == 2 * len(first.probes)


def test_another_search_reuses_probes_under_another_fingerprint(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    coarse = tiny(journal, tolerance=1.0)
    fine = tiny(journal, tolerance=0.1)
    assert coarse.fingerprint != fine.fingerprint
    assert {probe.key for probe in coarse.probes} < {probe.key for probe in fine.probes}
    assert len(lines(journal)) == len(fine.probes)
    other = tiny(journal, tolerance=0.1, seed=1)
    assert not {probe.key for probe in other.probes} & {probe.key for probe in fine.probes}


def test_without_a_journal_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMC_JOURNAL", str(tmp_path / "journal.jsonl"))
    tiny(n_max=16, replicates=1)
    assert list(tmp_path.iterdir()) == []


def own(journal: Path | None = None, model: Any = linear_model, **changes: Any) -> EmcResult:
    small = {key: value for key, value in TINY.items() if key not in ("model", "n_max")}
    return emc.measure(model=model, data=ARRAYS, journal=journal, **(small | {"speculation": 1} | changes))


def test_a_callable_and_arrays_are_measured() -> None:
    result = own()
    assert result.task["data"] == "arrays"
    assert result.procedure["model"].startswith("callable:name=linear_model,identity=")
    assert result.dataset["classes"] == ["no", "yes"]
    assert (result.dataset["rows"], result.dataset["shape"]) == (40, [3])
    assert result.parameters == 3 * 2 + 2
    assert 2 <= result.emc < 40
    assert record(own()) == record(result)


def test_a_callable_with_source_is_journaled(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    result = own(journal)
    assert {line["key"] for line in lines(journal)} == {probe.key for probe in result.probes}
    assert own(journal) == result


def test_a_callable_whose_source_cannot_be_found_is_not_journaled(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    unknown = eval("lambda shape, classes: nn.Linear(shape[0], classes)", {"nn": nn})
    with pytest.raises(OSError, match="could not get source code"):
        inspect.getsource(unknown)
    with pytest.warns(UserWarning, match="no source to be known by, so nothing is kept in .*journal.jsonl"):
        result = own(journal, model=unknown)
    assert not journal.exists()
    assert [replicate.emc for replicate in result.replicates] == [replicate.emc for replicate in own().replicates]
    assert result.procedure["model"] == "callable:name=<lambda>"


def test_inputs_of_the_user_are_not_changed() -> None:
    X, y = ARRAYS[0].copy(), ARRAYS[1].copy()
    emc.measure(model=linear_model, data=(X, y), min_steps=50, n_max=16, replicates=1)
    assert np.array_equal(X, ARRAYS[0])
    assert np.array_equal(y, ARRAYS[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modle": "mlp"}, 'there is no setting "modle"; did you mean "model"?'),
        ({"optimiser": "adam"}, 'there is no setting "optimiser"; did you mean "optimizer"?'),
        ({"devise": "cpu"}, 'there is no setting "devise"; did you mean "device"?'),
        ({"trainr": "single"}, 'there is no setting "trainr"; did you mean "trainer"?'),
        ({"journl": "x"}, 'there is no setting "journl"; did you mean "journal"?'),
        ({"model": "mpl"}, 'there is no model "mpl"; did you mean "mlp"?'),
        ({"data": "digit"}, 'there is no dataset "digit"; did you mean "digits"?'),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_one(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        emc.measure(**settings)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"replicates": 0}, SpecError, "--replicates must be at least 1, got 0"),
        ({"seed": "one"}, SpecError, "--seed takes a whole number, got 'one'"),
        ({"n_start": 50, "n_max": 20}, SpecError, "n_max must be at least n_start, got n_max=20, n_start=50"),
        ({"device": "tpu"}, SpecError, '--device is one of auto, cpu, cuda, got "tpu"'),
        ({"fresh": "yes"}, SpecError, "--fresh takes true or false, got 'yes'"),
        ({"data": ([[1.0]], [0])}, DataError, "must have at least 2 rows, got 1"),
        ({"journal": "/dev/null"}, JournalError, "the journal must be a file, got /dev/null"),
    ],
)
def test_a_wrong_setting_is_told(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        emc.measure(**settings)


def _failing(shape: tuple[int, ...], classes: int) -> nn.Module:
    class Failing(nn.Linear):
        def forward(self, X: torch.Tensor) -> torch.Tensor:
            if self.training:
                raise RuntimeError("out of luck")
            return super().forward(X)

    return Failing(shape[0], classes)


def test_a_model_that_raises_is_no_verdict_and_the_journal_is_closed_whole(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with pytest.raises(TrainingError, match="got RuntimeError: out of luck; mend the model"):
        own(journal, model=_failing)
    assert lines(journal) == []


@pytest.fixture
def three_threads() -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


@pytest.mark.parametrize(("asked", "used"), [(None, 1), (2, 2)])
def test_threads_are_as_they_were_afterwards(three_threads: int, asked: int | None, used: int) -> None:
    seen: set[int] = set()
    small = {"n_max": 16, "replicates": 1, "min_steps": 2, "check_steps": 2, "threads": asked}
    result = tiny(observer=lambda _: seen.add(torch.get_num_threads()), **small)
    assert seen == {result.versions["threads"]} == {used}, "dense models train on one thread unless told otherwise"
    assert torch.get_num_threads() == three_threads
    with pytest.raises(TrainingError):
        own(model=_failing, threads=asked)
    assert torch.get_num_threads() == three_threads
    tiny(observer=press_after(1), **small)
    assert torch.get_num_threads() == three_threads


def test_the_global_generators_are_as_they_were_afterwards() -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    tiny(n_max=16, replicates=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numbers).all()


def ready(**changes: Any) -> Prepared:
    return prepare(Measurement.from_flat(TINY | changes))


def test_the_rough_cost_is_that_of_the_dearest_emc() -> None:
    prepared = ready(n_max=32, tolerance=0.05, replicates=3, min_steps=1000)
    search = prepared.measurement.search
    paths = [[ask.n for ask, _ in walk(search, 16, 32, memoriser(k))[0]] for k in range(33)]
    assert paths[31] == [16, 32, 23, 27, 29, 30, 31]
    sample_steps = 3 * 1000 * max(sum(sizes) for sizes in paths)
    assert prepared.rough_cost() == {
        "probes": 3 * max(len(sizes) for sizes in paths),
        "steps": 3 * 1000 * max(len(sizes) for sizes in paths),
        "sample_steps": sample_steps,
        "flops": 6 * 310 * sample_steps,
    }


@pytest.mark.parametrize(
    "search",
    [
        {"tolerance": 0.05},
        {"growth": "linear:step=16"},
        {"growth": "geometric:factor=1.2"},
        {"attempts": 3},
        {"verify": 5},
        {"sections": 5},
        {"n_start": 1000},
    ],
    ids=str,
)
def test_every_search_has_its_own_rough_cost(search: dict[str, Any]) -> None:
    prepared = ready(n_max=1797, replicates=1, **search)
    rule = prepared.measurement.search
    longest = max(len(asked_at(rule, *rule.sizes, k)) for k in range(0, 1798, 7))
    assert longest - 2 <= prepared.rough_cost()["probes"] <= longest + 2


def test_the_rough_cost_counts_each_pass_of_a_step() -> None:
    one, two = (ready(optimizer=name).rough_cost() for name in ("adam", "sam"))
    assert two["steps"] == one["steps"]
    assert (two["sample_steps"], two["flops"]) == (2 * one["sample_steps"], 2 * one["flops"])


def test_the_rough_cost_grows_with_what_is_asked() -> None:
    less = ready().rough_cost()
    for more in (ready(replicates=4), ready(min_steps=600), ready(n_max=1000), ready(tolerance=0.01)):
        assert more.rough_cost()["flops"] > less["flops"]


def test_a_search_changes_the_fingerprint_and_no_probe() -> None:
    base, fingerprint = ready().base, ready().fingerprint
    searches = (
        {"tolerance": 0.1},
        {"n_max": 50},
        {"verify": 2},
        {"growth": "linear"},
        {"replicates": 5},
        {"search": "threshold", "tolerance": 0.05, "replicates": 6},
        {"search": "threshold:width=1.3", "tolerance": 0.05, "replicates": 6},
    )
    others = [ready(**search) for search in searches]
    assert {other.base for other in others} == {base}
    assert len({fingerprint, *(other.fingerprint for other in others)}) == len(searches) + 1
    assert ready(seed=1).base != base


def test_how_probes_are_run_is_part_of_no_identity() -> None:
    one = prepare(
        Measurement.from_flat(TINY), execution=Execution(trainer="single", stack=3, speculation=4, fresh=True)
    )
    assert (one.base, one.fingerprint) == (ready().base, ready().fingerprint)


def test_the_settings_of_a_result_give_the_same_measurement(undisturbed: EmcResult) -> None:
    again = {
        "task": undisturbed.task,
        "procedure": undisturbed.procedure,
        "search": undisturbed.search,
        "seed": undisturbed.seed,
        "replicates": len(undisturbed.replicates),
        "confidence": undisturbed.confidence,
    }
    assert prepare(Measurement.from_dict(again)).fingerprint == undisturbed.fingerprint


def test_a_diverging_procedure_ends_with_its_own_status() -> None:
    result = tiny(optimizer="sgd:lr=1e30", replicates=1, retries=1)
    assert (result.status, result.emc, result.censored) == (Status.DIVERGED, 0, True)
    assert [probe.verdict for probe in result.probes] == [Verdict.DIVERGED] * 2
    assert all(probe.loss is None and probe.evidence is None for probe in result.probes)


def test_a_budget_too_small_is_told_as_undertrained() -> None:
    result = tiny(min_steps=1, check_steps=1, replicates=1, optimizer="sgd:lr=1e-6")
    assert (result.status, result.censored) == (Status.UNDERTRAINED, True)
    deciding = [probe for probe in result.probes if probe.key == result.replicates[0].deciding]
    assert [probe.evidence for probe in deciding] == [Evidence.BUDGET]
    assert result.interval is None


def test_the_test_accuracy_is_that_of_each_replicates_largest_fit() -> None:
    settings: dict[str, Any] = {
        "model": "linear",
        "min_steps": 1500,
        "max_epochs": 1,
        "tolerance": 0.2,
        "replicates": 2,
    }
    result = emc.measure(data="wine", test_split=0.3, **settings)
    assert result.dataset["rows"] + result.dataset["test_rows"] == 178
    fitted = {(p.replicate, p.n): p.detail["test_correct"] for p in result.probes if p.verdict is Verdict.FITTED}
    expected = tuple(fitted[r.replicate, r.lower] / result.dataset["test_rows"] for r in result.replicates)
    assert result.test_accuracy == expected
    assert min(expected) > 0.9, "three cultivars are nearly linearly separable"
    assert "53 held-out rows" in str(result)
    assert EmcResult.from_dict(json.loads(result.to_json())).test_accuracy == expected
    assert emc.measure(data="wine", n_max=20, **settings).test_accuracy == ()


def test_what_is_learnt_from_random_labels_is_chance_on_held_out_rows() -> None:
    result = emc.measure(
        model="mlp:width=8", data="digits", labels="random", test_split=0.5, n_max=64, replicates=4, min_steps=2000
    )
    assert [replicate.lower for replicate in result.replicates] == [64] * 4
    accuracies = [accuracy for accuracy in result.test_accuracy if accuracy is not None]
    assert 0.02 < sum(accuracies) / 4 < 0.2


def test_mean_error_from_the_probes_of_fit(tmp_path: Path) -> None:
    """The journal of one criterion answers the other; the result is shown and read again."""
    settings: dict[str, Any] = {
        "model": "mlp:width=2",
        "data": "gaussian:dim=4,size=60",
        "labels": "random",
        "min_steps": 300,
        "certify": "none",
        "journal": tmp_path / "journal.jsonl",
        "replicates": 3,
    }
    fit = emc.measure(**settings)
    found = emc.measure(**settings, criterion="error<=0.2")
    assert found.estimand == "largest n of mean training error<=0.2"
    assert found.replicates == ()
    assert found.bits_per_parameter is None
    assert found.emc > fit.emc
    shared = {probe.key for probe in fit.probes} & {probe.key for probe in found.probes}
    assert len(shared) >= 3  # the first size of each replicate
    assert "mean error" in str(found)
    assert "replicates" not in str(found)
    assert emc.EmcResult.from_dict(json.loads(found.to_json())) == found


THRESHOLD = {
    "model": "linear",
    "data": "gaussian:dim=3,size=60",
    "optimizer": "lbfgs",
    "labels": "random",
    "classes": 2,
    "search": "threshold:width=1.5",
    "min_steps": 300,
    "max_epochs": 1,
}


def test_a_threshold_search_continues_from_its_journal_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    interrupted = emc.measure(journal=path, observer=press_after(12), **THRESHOLD)
    assert interrupted.status is Status.INTERRUPTED
    result = emc.measure(journal=path, **THRESHOLD)
    assert len(lines(path)) == len(result.probes), "no probe is trained twice"
    whole = emc.measure(**THRESHOLD)
    assert (result.emc, result.interval, result.detail) == (whole.emc, whole.interval, whole.detail)
    assert result.status is Status.RESOLVED
    assert result.search["search"] == "threshold:width=1.5,batch=8,max_probes=400"
    assert result.interval is not None
    assert result.interval[0] < 2 * (3 + 1) < result.interval[1], "Cover: half of the problems of 2 (d + 1) points"
    assert EmcResult.from_dict(json.loads(result.to_json())) == result
    rows = dict(result.rows())
    assert "replicates" not in rows
    assert rows["verdicts"].startswith(f"{sum(p.verdict is Verdict.FITTED for p in result.probes)} fitted, ")
    assert rows["deciding evidence"].endswith(" infeasible")


def test_the_rough_cost_of_a_threshold_search_is_all_it_may_ask() -> None:
    prepared = ready(search="threshold:max_probes=9", n_max=64, min_steps=1000, replicates=6, tolerance=0.05)
    cost = prepared.rough_cost()
    assert (cost["probes"], cost["steps"]) == (9, 9000)
    assert cost["sample_steps"] == 1000 * (16 + 32 + 64 * 7)


def test_what_a_threshold_search_cannot_honour_is_told_before_data_are_loaded() -> None:
    with pytest.raises(SpecError, match="takes no --verify"):
        emc.measure(search="threshold", verify=2, data="csv:path=nowhere.csv,target=y")
