"""A pool that is not in memory trains to the bits of one that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from shard_files import images, samples, write_tar

from emc.api import Prepared, prepare
from emc.data import load
from emc.data.dataset import Dataset, HeldOut
from emc.data.regimes import INPUTS
from emc.data.rows import TensorRows
from emc.data.split import hold_out
from emc.errors import SpecError, TrainingError
from emc.executors.choice import choose
from emc.executors.payload import files_in, pack, unpack
from emc.results import EmcResult
from emc.specs import Execution, Measurement, Probe
from emc.training import inputs
from emc.training import samples as samples_module
from emc.training.inputs import Gathered
from emc.training.single import SingleTrainer

MakePrepared = Callable[..., Prepared]
Train = Callable[..., Any]

ROWS = 60


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def lazy(tmp_path: Path) -> Dataset:
    path = write_tar(tmp_path / "a.tar", samples(images(ROWS), [number % 3 for number in range(ROWS)]))
    return hold_out(load(f"webdataset:path={path}"), 0.1)


@pytest.fixture
def held(lazy: Dataset) -> Dataset:
    """The same pool in memory."""
    assert lazy.test is not None
    return replace(lazy, rows=TensorRows(lazy.X), test=HeldOut(TensorRows(lazy.test.X), lazy.test.y))


@pytest.fixture
def too_large(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`too_large(n)`: no more than n samples of 8x8 pixels may be held."""
    return lambda n: monkeypatch.setattr(inputs, "HELD_BYTES", n * 3 * 64 * 4)


def measure(dataset: Dataset, **settings: Any) -> EmcResult:
    small = {
        "model": "cnn:width=2,depth=1",
        "labels": "random",
        "replicates": 2,
        "min_steps": 60,
        "max_epochs": 1,
        "check_steps": 30,
        "certify": "none",
        "batch_size": 8,
    }
    ready = prepare(
        Measurement.from_flat(small | settings), dataset=dataset, execution=Execution(trainer="single", workers=1)
    )
    return ready.run()


def told(result: EmcResult) -> tuple[Any, ...]:
    """All that a measurement found, but for wall time and what examining a failure says."""
    kept = ("key", "n", "replicate", "verdict", "correct", "loss", "steps", "sample_steps")
    probes = [tuple(getattr(probe, name) for name in kept) for probe in result.probes]
    tested = [probe.detail.get("test_correct") for probe in result.probes]
    return result.emc, result.status, result.lower, result.upper, result.fingerprint, probes, tested


@pytest.mark.parametrize("settings", [{}, {"labels": "semantic"}, {"inputs": "permuted"}, {"inputs": "gaussian"}])
def test_the_same_emc_as_from_memory(lazy: Dataset, held: Dataset, settings: dict[str, Any]) -> None:
    found = measure(lazy, **settings)
    assert told(found) == told(measure(held, **settings))
    assert found.probes[0].detail["test_rows"] == 6


@pytest.mark.parametrize("most", [0, 5])
def test_the_same_emc_where_the_inputs_do_not_fit(
    lazy: Dataset, held: Dataset, too_large: Callable[[int], None], most: int
) -> None:
    expected = measure(held)
    too_large(most)
    found = measure(lazy)
    assert told(found) == told(expected)
    failed = [probe for probe in found.probes if probe.evidence is not None and probe.n > most]
    assert failed
    assert all(probe.detail["not_examined"] == "the inputs do not fit into memory" for probe in failed)


def test_what_fits_is_one_tensor_and_what_does_not_is_gathered(
    lazy: Dataset, make_prepared: MakePrepared, too_large: Callable[[int], None]
) -> None:
    pool = make_prepared(dataset=lazy, model="cnn:width=2,depth=1").setup.pool
    stores = [pool.samples(replicate).store(20)[0] for replicate in range(2)]
    assert stores[0] is stores[1]
    expected = pool.samples(0).first(30)
    too_large(20)
    assert pool.streams
    store, index = pool.samples(0).inputs(30)
    assert isinstance(store, Gathered)
    assert len(store) == 30
    assert torch.equal(store.index_select(0, index), expected[0])
    assert torch.equal(torch.cat(list(store.split(7))), expected[0])
    assert torch.equal(store.index_select(0, torch.tensor([4, 4, 0])), expected[0][[4, 4, 0]])


def test_only_the_samples_of_a_probe_are_read(
    lazy: Dataset, make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_prepared(dataset=lazy, model="cnn:width=2,depth=1").setup.pool
    read: list[int] = []
    rows = lazy.rows
    original = rows.read
    monkeypatch.setattr(rows, "read", lambda index: read.extend(index.tolist()) or original(index))
    pool.samples(0).store(10)
    pool.samples(0).store(15)
    assert len(read) == len(set(read)) == 15
    pool.samples(1).store(54)
    assert sorted(read) == list(range(54))


def test_auto_trains_what_does_not_fit_alone_and_says_why(
    lazy: Dataset, make_prepared: MakePrepared, too_large: Callable[[int], None]
) -> None:
    setup = make_prepared(dataset=lazy).setup
    assert choose(setup, "auto").trainer != "single"
    too_large(10)
    choice = choose(setup, "auto")
    assert choice.trainer == "single"
    assert choice.why.startswith("its inputs are read as they are needed: a pool of 0.0 GiB")
    for trainer in ("lockstep", "compiled"):
        with pytest.raises(SpecError, match=rf"--trainer {trainer} needs inputs that fit into memory, got a pool"):
            choose(setup, trainer)


@pytest.mark.parametrize("regime", [name for name in INPUTS.names() if name != "natural"])
def test_a_regimes_inputs_must_fit(
    lazy: Dataset, make_prepared: MakePrepared, too_large: Callable[[int], None], regime: str
) -> None:
    pool = make_prepared(dataset=lazy, inputs=regime).setup.pool
    too_large(10)
    with pytest.raises(TrainingError, match=rf"inputs {regime} of a pool this large must fit into memory, got n=40"):
        pool.samples(0).inputs(40)


def test_a_full_batch_must_fit(
    lazy: Dataset, make_prepared: MakePrepared, train: Train, too_large: Callable[[int], None]
) -> None:
    setup = make_prepared(dataset=lazy, optimizer="lbfgs").setup
    too_large(10)
    with pytest.raises(TrainingError, match="must fit into memory, got n=40 samples of 768 bytes; lower --n-max"):
        train(SingleTrainer(setup), [Probe("base", 40, 0)])


def test_another_process_maps_the_cache(
    lazy: Dataset, make_prepared: MakePrepared, train: Train, tmp_path: Path
) -> None:
    setup = make_prepared(dataset=lazy).setup
    probes = [Probe("base", 20, 0)]
    expected = train(SingleTrainer(setup), probes)
    (tmp_path / "arrays").mkdir()
    content = pack(setup, files_in(str(tmp_path / "arrays")), large=1)
    copy = unpack(content)
    assert train(SingleTrainer(copy), probes) == expected
    assert len(content) < ROWS * 192


@pytest.mark.parametrize("labels", ["semantic", "random", "shuffled", "noise:p=0.5"])
@pytest.mark.parametrize("inputs_spec", ["natural", "gaussian"])
def test_an_order_drawn_in_part_begins_as_the_whole(
    make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch, labels: str, inputs_spec: str
) -> None:
    def draw(*sizes: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        drawn = make_prepared(labels=labels, inputs=inputs_spec).setup.pool.samples(1)
        return [drawn.first(n) for n in sizes]

    (whole,) = draw(300)
    monkeypatch.setattr(samples_module, "LEAST_DRAWN", 4)
    for X, y in draw(2, 3, 40, 299, 300):
        assert torch.equal(X, whole[0][: len(X)])
        assert torch.equal(y, whole[1][: len(y)])
