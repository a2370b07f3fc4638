from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from emc.api import prepare
from emc.data import load
from emc.data.dataset import Dataset, Raw, make_dataset
from emc.data.split import hold_out
from emc.data.tables import encode_table
from emc.errors import SpecError
from emc.resolve import load_data
from emc.specs import Measurement, Probe, Task


def table() -> Dataset:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.exponential(size=200), "kind": rng.choice(["a", "b", "c"], size=200)})
    target = pd.Series(rng.integers(2, size=200), name="target")
    return make_dataset(encode_table("table", frame, target, owner="data table"))


def test_the_rows_are_shared_out_and_each_keeps_its_label() -> None:
    source = load("gaussian:dim=3,size=50")
    pool = hold_out(source, 0.3)
    assert pool.test is not None
    assert (pool.facts.rows, pool.facts.test_rows, len(pool.test.X)) == (35, 15, 15)
    both = torch.cat([torch.column_stack([pool.X, pool.y]), torch.column_stack([pool.test.X, pool.test.y])])
    whole = torch.column_stack([source.X, source.y])
    assert sorted(both.tolist()) == sorted(whole.tolist())


def test_the_split_is_the_same_for_every_procedure_and_seed_and_another_for_other_data() -> None:
    tasks = [Task(data="digits", test_split=0.2, labels=labels) for labels in ("random", "semantic")]
    first, second = (load_data(task, None) for task in tasks)
    assert first.test is not None
    assert second.test is not None
    assert torch.equal(first.test.X, second.test.X)
    assert first.facts.content_hash == second.facts.content_hash
    other = load_data(Task(data="digits", test_split=0.25), None)
    assert other.facts.content_hash != first.facts.content_hash


def test_what_was_standardised_is_so_again_by_the_rows_that_stay_and_nothing_else_is_touched() -> None:
    source = table()
    assert source.standardised == (True, False, False, False)
    pool = hold_out(source, 0.4)
    assert pool.test is not None
    assert float(pool.X[:, 0].double().mean()) == pytest.approx(0, abs=1e-6)
    assert float(pool.X[:, 0].double().std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert set(pool.X[:, 1:].flatten().tolist()) == {0.0, 1.0}
    assert set(pool.test.X[:, 1:].flatten().tolist()) == {0.0, 1.0}
    # One affine map takes the source's numbers to both parts.
    before = source.X[:, 0].double().sort().values
    after = torch.cat([pool.X[:, 0], pool.test.X[:, 0]]).double().sort().values
    slope = (after[-1] - after[0]) / (before[-1] - before[0])
    assert slope != 1
    torch.testing.assert_close(after, after[0] + slope * (before - before[0]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["digits", "wine"])
def test_sources_mark_what_they_standardise(name: str) -> None:
    source = load(name)
    assert source.standardised == (True,) * source.X.shape[1]


def test_too_little_must_not_stay() -> None:
    two = make_dataset(encode_table("t", pd.DataFrame({"x": [1.0, 2.0, 3.0]}), pd.Series([0, 0, 1]), owner="data t"))
    with pytest.raises(SpecError, match=r"--test-split must leave at least 2 rows of 2 classes, got 0.9 of 3 rows"):
        hold_out(two, 0.9)
    with pytest.raises(SpecError, match=r"--test-split must be between 0 and 0.9, got 1"):
        Task(test_split=1.0)


def test_held_out_inputs_follow_the_regime_of_their_replicate_with_noise_of_their_own() -> None:
    def samples(inputs: str):  # type: ignore[no-untyped-def]
        task = {"data": "digits", "test_split": 0.5, "inputs": inputs, "labels": "random", "classes": 5}
        ready = prepare(Measurement.from_flat(task))
        return ready, ready.setup.samples(Probe("", 16, 0))

    ready, natural = samples("natural")
    held = ready.dataset.test
    assert held is not None
    X, y = natural.test
    assert torch.equal(X, held.X)
    assert X is ready.setup.samples(Probe("", 16, 1)).test[0], "one tensor for all replicates"
    assert sorted(set(y.tolist())) == [0, 1, 2, 3, 4]
    assert all(len(set(held.y[y == k].tolist())) == 2 for k in range(5)), "two digits a merged class, no noise in them"
    _, permuted = samples("permuted")
    moved, _ = permuted.test
    train, _ = permuted.first(16)
    own, _ = natural.first(16)
    assert torch.equal(moved.flatten(1).sort().values, held.X.flatten(1).sort().values)
    assert torch.equal(train.flatten(1).sort().values, own.flatten(1).sort().values)
    trained, tested = _permutation(natural.first(800)[0], permuted.first(800)[0]), _permutation(X, moved)
    known = (trained >= 0) & (tested >= 0)
    assert int(known.sum()) > 50
    assert torch.equal(trained[known], tested[known])
    _, noisy = samples("gaussian")
    assert not torch.equal(noisy.test[0][:16], noisy.first(16)[0])


def _permutation(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Where each pixel that varies enough to be known again went."""
    before, after = before.flatten(1), after.flatten(1)
    same = (before[:, :, None] == after[:, None, :]).all(0)
    return torch.where(same.sum(1) == 1, same.int().argmax(1), -1)


def test_equal_inputs_are_held_out_together() -> None:
    X = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    pool = make_dataset(Raw("twice", np.concatenate([X, X]), np.arange(120) % 2, ("p", "q")), "keep")
    split = hold_out(pool, 0.3)
    assert split.test is not None
    held = {tuple(row) for row in split.test.X.tolist()}
    assert (split.facts.test_rows, len(held)) == (36, 18)
    assert not held & {tuple(row) for row in split.X.tolist()}
