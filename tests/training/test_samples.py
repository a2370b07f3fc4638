"""A replicate's samples and its stream of batches."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from emc.api import Prepared
from emc.data.regimes import BLOCK, INPUTS
from emc.training.samples import Batches, Samples

MakePrepared = Callable[..., Prepared]


@pytest.mark.parametrize("inputs", INPUTS.names())
@pytest.mark.parametrize("labels", ["semantic", "random", "shuffled", "noise:p=0.5"])
def test_a_probe_sees_the_first_n_of_its_replicates_order(
    make_prepared: MakePrepared, inputs: str, labels: str
) -> None:
    def draw(*sizes: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        prepared = make_prepared(data="gaussian:dim=4,size=700", inputs=inputs, labels=labels)
        samples = prepared.setup.pool.samples(0)
        return [samples.first(n) for n in sizes]

    small, large = draw(10, 650)
    (alone,) = draw(BLOCK + 1)
    for X, y in (small, alone):
        assert torch.equal(X, large[0][: len(X)])
        assert torch.equal(y, large[1][: len(y)])
    assert large[0].shape == (650, 4)
    assert large[0].isfinite().all()


def test_replicates_are_other_draws_and_procedures_see_the_same(make_prepared: MakePrepared) -> None:
    def first(replicate: int, **settings: object) -> tuple[torch.Tensor, torch.Tensor]:
        return make_prepared(**settings).setup.pool.samples(replicate).first(100)

    X, y = first(0)
    same_X, same_y = first(0, model="linear", optimizer="sgd", min_steps=7)
    assert torch.equal(X, same_X)
    assert torch.equal(y, same_y)
    for other in (first(1), first(0, seed=1)):
        assert not torch.equal(X, other[0])
        assert not torch.equal(y, other[1])


def test_natural_inputs_share_one_store(make_prepared: MakePrepared) -> None:
    pool = make_prepared().setup.pool
    stores = [pool.samples(replicate).store(50) for replicate in range(2)]
    assert stores[0][0] is stores[1][0]
    X, y = pool.samples(1).first(50)
    assert torch.equal(X, pool.dataset.X[stores[1][1]])
    assert len(stores[1][1].unique()) == 50
    assert y.shape == (50,)


def test_semantic_labels_stay_with_their_rows(make_prepared: MakePrepared) -> None:
    pool = make_prepared(labels="semantic").setup.pool
    samples = pool.samples(3)
    _, index = samples.store(300)
    assert torch.equal(samples.y, pool.dataset.y[index])


def brute_first_conflict(samples: Samples, rows: int) -> int | None:
    X, y = samples.first(rows)
    for n in range(2, rows + 1):
        if any(torch.equal(X[i], X[n - 1]) and y[i] != y[n - 1] for i in range(n - 1)):
            return n
    return None


@pytest.mark.parametrize("inputs", ["natural", "permuted"])
@pytest.mark.parametrize("labels", ["semantic", "random"])
def test_first_conflict_is_the_smallest_such_n(make_prepared: MakePrepared, inputs: str, labels: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 4, size=(40, 2)).astype(np.float32)
    arrays = (X, rng.integers(0, 2, size=40))
    pool = make_prepared(dataset=arrays, inputs=inputs, labels=labels, duplicates="keep").setup.pool
    found = [pool.samples(replicate).first_conflict for replicate in range(5)]
    assert found == [brute_first_conflict(pool.samples(replicate), 40) for replicate in range(5)]
    assert len(set(found)) > 1
    assert None not in found


@pytest.mark.parametrize("settings", [{"duplicates": "drop"}, {"duplicates": "keep", "inputs": "gaussian"}])
def test_no_conflict_where_inputs_do_not_repeat(make_prepared: MakePrepared, settings: dict[str, str]) -> None:
    X = np.repeat(np.arange(20, dtype=np.float32), 2)[:, None]
    pool = make_prepared(dataset=(X, np.arange(40) // 3 % 2), **settings).setup.pool
    assert pool.samples(0).first_conflict is None


SIZES = [(10, 3), (10, 4), (10, 9), (10, 10), (7, 2), (128, 100), (1, 1), (5, 1)]


@pytest.mark.parametrize(("n", "size"), SIZES)
def test_no_sample_is_skipped_and_none_is_seen_too_often(n: int, size: int) -> None:
    steps = 6 * n
    stream = Batches(n, size, seed=1).take(steps)
    assert stream.shape == (steps, size)
    assert stream.dtype == torch.int64
    flat = stream.flatten()
    passes = len(flat) // n
    for epoch in flat[: passes * n].view(passes, n):
        assert torch.equal(epoch.sort().values, torch.arange(n))
    first = stream[: math.ceil(n / size)].flatten()
    assert len(first.unique()) == n


@pytest.mark.parametrize(("n", "size"), SIZES)
def test_a_chunked_take_equals_one_take(n: int, size: int) -> None:
    whole = Batches(n, size, seed=1).take(30)
    batches = Batches(n, size, seed=1)
    pieces = torch.cat([batches.take(steps) for steps in (1, 2, 10, 0, 17)])
    assert torch.equal(whole, pieces)


def test_each_pass_is_shuffled_anew_by_the_seed() -> None:
    flat = Batches(50, 5, seed=1).take(20).flatten()
    assert not torch.equal(flat[:50], flat[50:100])
    assert not torch.equal(flat[:50], torch.arange(50))
    assert torch.equal(flat, Batches(50, 5, seed=1).take(20).flatten())
    assert not torch.equal(flat, Batches(50, 5, seed=2).take(20).flatten())


@pytest.mark.parametrize(("n", "size"), [(50, 7), (50, 50), (3, 1)])
def test_a_stream_goes_on_from_its_state(n: int, size: int) -> None:
    before, after = Batches(n, size, seed=1), Batches(n, size, seed=1)
    before.take(11)
    after.load_state(before.state())
    assert torch.equal(after.take(20), before.take(20))


def test_batches_leave_the_global_generator() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    Batches(50, 5, seed=1).take(20)
    assert torch.equal(before, torch.get_rng_state())


def test_samples_nobody_holds_are_let_go(make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emc.training.samples.KEPT", 2)
    pool = make_prepared(inputs="gaussian").setup.pool
    held, first = pool.samples(0), pool.samples(1).first(20)[0]
    for replicate in range(2, 5):
        pool.samples(replicate)
    gc.collect()
    assert pool.samples(0) is held
    assert sorted(pool._samples) == [0, 3, 4]
    assert torch.equal(pool.samples(1).first(20)[0], first)
