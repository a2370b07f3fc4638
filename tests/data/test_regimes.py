from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emc.data.regimes import BLOCK, INPUTS, LABELS, PoolStatistics, replicate_inputs, replicate_labels
from emc.errors import SpecError
from emc.registry import PluginSpec
from emc.seeds import order_key

KEY, OTHER_KEY = order_key(0, "content", 0), order_key(0, "content", 1)
ROWS, CLASSES = 10_000, 10

#: Unequal class frequencies, which regimes have to keep or to forget.
SEMANTIC = np.sort(np.random.default_rng(0).binomial(CLASSES - 1, 0.3, size=ROWS))


def labels(spec: str, asked: int | None = None, key: int = KEY, y: npt.NDArray[np.int64] = SEMANTIC) -> Any:
    return replicate_labels(y, CLASSES, LABELS.resolve(spec), asked, key)[0]


def assert_uniform(drawn: npt.NDArray[np.int64], num_classes: int) -> None:
    counts = np.bincount(drawn, minlength=num_classes)
    assert len(counts) == num_classes
    assert stats.chisquare(counts).pvalue > 0.001


def test_semantic_labels_are_the_datasets_own() -> None:
    assert np.array_equal(labels("semantic"), SEMANTIC)


@pytest.mark.parametrize("asked", [None, 2, 3, 10, 17])
def test_random_labels_are_uniform_over_any_number_of_classes(asked: int | None) -> None:
    drawn, K = replicate_labels(SEMANTIC, CLASSES, PluginSpec("random"), asked, KEY)
    assert (CLASSES if asked is None else asked) == K
    assert_uniform(drawn, K)


def test_random_labels_know_nothing_of_the_semantic_ones() -> None:
    drawn = labels("random")
    assert np.array_equal(drawn, labels("random", y=SEMANTIC[::-1].copy()))
    table = stats.contingency.crosstab(SEMANTIC > 2, drawn).count
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_random_labels_of_neighbouring_rows_are_independent() -> None:
    drawn = labels("random")
    assert_uniform(drawn[1:] * CLASSES + drawn[:-1], CLASSES**2)


def test_shuffled_labels_keep_the_class_counts_and_nothing_else() -> None:
    drawn = labels("shuffled")
    assert np.array_equal(np.bincount(drawn), np.bincount(SEMANTIC))
    agreeing = (np.bincount(SEMANTIC) / ROWS) @ (np.bincount(SEMANTIC) / ROWS)
    assert np.mean(drawn == SEMANTIC) == pytest.approx(agreeing, abs=4 * np.sqrt(agreeing / ROWS))


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("asked", [2, 10])
def test_noise_changes_a_share_of_p_times_1_minus_1_over_k(p: float, asked: int) -> None:
    before, after = labels("semantic", asked), labels(f"noise:p={p}", asked)
    share = p * (1 - 1 / asked)
    assert np.mean(before != after) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / ROWS))
    if asked > 2:
        assert_uniform((after - before)[before != after] % asked - 1, asked - 1)


def test_noise_of_none_changes_nothing_and_of_all_leaves_nothing() -> None:
    assert np.array_equal(labels("noise:p=0"), SEMANTIC)
    assert_uniform(labels("noise:p=1"), CLASSES)


@pytest.mark.parametrize("p", ["-0.1", "1.1", "inf"])
def test_noise_takes_a_probability(p: str) -> None:
    with pytest.raises(SpecError, match=f"^label regime noise takes p between 0 and 1, got {float(p)}$"):
        labels(f"noise:p={p}")


@pytest.mark.parametrize("spec", ["random", "shuffled", "noise:p=1"])
def test_replicates_draw_their_labels_independently(spec: str) -> None:
    one, other = labels(spec), labels(spec, key=OTHER_KEY)
    assert np.array_equal(one, labels(spec))
    by_chance = (np.bincount(one) / ROWS) @ (np.bincount(other) / ROWS)
    assert np.mean(one == other) == pytest.approx(by_chance, abs=4 * np.sqrt(by_chance / ROWS))


@given(st.integers(2, 40), st.data(), st.integers(0, 2**63 - 1))
def test_fewer_classes_are_balanced_groups_none_empty(classes: int, data: st.DataObject, key: int) -> None:
    K = data.draw(st.integers(2, classes))
    merged, found = replicate_labels(np.arange(classes), classes, PluginSpec("semantic"), K, key)
    sizes = np.bincount(merged, minlength=K)
    assert found == len(sizes) == K
    assert sizes.max() - sizes.min() <= 1
    assert sizes.min() >= 1


def test_merging_joins_whole_classes() -> None:
    merged = labels("semantic", 3)
    assert all(len(np.unique(merged[c == SEMANTIC])) == 1 for c in np.unique(SEMANTIC))


def test_as_many_classes_as_there_are_stay_as_they_are() -> None:
    assert np.array_equal(labels("semantic", CLASSES), SEMANTIC)


def test_merging_is_drawn_anew_for_each_replicate_and_evenly() -> None:
    together = 0
    for replicate in range(600):
        merged = replicate_labels(np.arange(4), 4, PluginSpec("semantic"), 2, order_key(0, "content", replicate))[0]
        together += merged[0] == merged[1]
    assert together / 600 == pytest.approx(1 / 3, abs=4 * np.sqrt(2 / 9 / 600))


@pytest.mark.parametrize("spec", ["shuffled", "noise:p=0"])
def test_merging_precedes_shuffling_and_noise_and_is_the_same_for_all(spec: str) -> None:
    merged, drawn = labels("semantic", 3), labels(spec, 3)
    assert np.array_equal(np.bincount(drawn), np.bincount(merged))
    if spec == "noise:p=0":
        assert np.array_equal(drawn, merged)


@pytest.mark.parametrize("spec", ["semantic", "shuffled", "noise:p=0.2"])
def test_more_classes_than_the_dataset_has_need_random_labels(spec: str) -> None:
    name = spec.partition(":")[0]
    message = f"{name} labels have at most the dataset's 10 classes, got --classes 11; lower it"
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        labels(spec, CLASSES + 1)


@pytest.mark.parametrize("spec", LABELS.names())
def test_every_label_regime_gives_each_row_a_class_and_leaves_the_pool_as_it_was(spec: str) -> None:
    y = SEMANTIC.copy()
    y.setflags(write=False)
    drawn = labels(spec, 4, y=y)
    assert (drawn.shape, drawn.dtype) == (y.shape, np.int64)
    assert set(np.unique(drawn)) == set(range(4))


IMAGES = np.random.default_rng(1).normal([[[5.0]], [[-3.0]]], [[[2.0]], [[0.5]]], (1000, 2, 3, 4)).astype(np.float32)
TABLE = np.random.default_rng(2).normal([0.0, 10.0, 7.0], [1.0, 3.0, 0.0], (1000, 3)).astype(np.float32)


def inputs(X: Any, spec: str, n: int | None = None, key: int = KEY) -> Any:
    """The first n inputs of a replicate whose order is the pool's."""
    n = len(X) if n is None else n
    return replicate_inputs(X[:n], PoolStatistics(X), PluginSpec(spec), key, 0, n)


def numbered(rows: int, *shape: int) -> npt.NDArray[np.float32]:
    """Row i holds 100 i + 0, 1, 2, ..., so that a value names its row and its place."""
    places = np.arange(np.prod(shape)).reshape(shape)
    return (100 * np.arange(rows).reshape(-1, *[1] * len(shape)) + places).astype(np.float32)


def test_pool_statistics_are_by_channel_for_images_and_by_feature_else() -> None:
    X = np.array([[[[1, 3]], [[0, 0]]], [[[5, 7]], [[0, 4]]]], dtype=np.float32)
    images = PoolStatistics(X)
    assert images.mean.tolist() == [[[4]], [[1]]]
    assert images.std.tolist() == [[[5**0.5]], [[3**0.5]]]
    table = PoolStatistics(X.reshape(2, 4))
    assert (table.mean.tolist(), table.std.tolist()) == ([3, 5, 0, 2], [2, 2, 0, 2])


def test_natural_inputs_are_the_datasets_own() -> None:
    assert np.array_equal(inputs(IMAGES, "natural"), IMAGES)


@pytest.mark.parametrize(("X", "axes"), [(IMAGES, (0, 2, 3)), (TABLE, (0,))])
def test_gaussian_inputs_have_the_pools_mean_and_variance(X: Any, axes: tuple[int, ...]) -> None:
    drawn = inputs(X, "gaussian").astype(float)
    count = X.size / X.shape[1]
    std = X.std(axes, dtype=float)
    np.testing.assert_array_less(abs(drawn.mean(axes) - X.mean(axes, dtype=float)), 4 * std / np.sqrt(count) + 1e-6)
    np.testing.assert_array_less(abs(drawn.std(axes) - std), 4 * std / np.sqrt(2 * count) + 1e-6)
    standardised = (drawn - drawn.mean(axes, keepdims=True))[:, :2] / std.reshape(-1, *[1] * (X.ndim - 2))[:2]
    assert stats.kstest(standardised.ravel(), "norm").pvalue > 0.001


def test_gaussian_inputs_of_a_pools_places_and_channels_are_independent() -> None:
    drawn = inputs(IMAGES, "gaussian").reshape(1000, -1)
    off_diagonal = np.corrcoef(drawn.T) - np.eye(24)
    assert abs(off_diagonal).max() < 5 / np.sqrt(1000)


def test_gaussian_inputs_know_nothing_of_the_row_they_replace() -> None:
    swapped = IMAGES[::-1].copy()
    np.testing.assert_allclose(inputs(swapped, "gaussian"), inputs(IMAGES, "gaussian"), rtol=1e-5)


@pytest.mark.parametrize("shape", [(12,), (2, 3, 4)])
def test_permuted_inputs_have_one_permutation_for_all_rows_and_channels(shape: tuple[int, ...]) -> None:
    X = numbered(600, *shape)
    drawn = inputs(X, "permuted")
    assert drawn.shape == X.shape
    order = (drawn[0] % 100).astype(int)
    assert np.array_equal(drawn, 100 * np.arange(600).reshape(-1, *[1] * len(shape)) + order)
    channels = order.reshape(shape[0], -1) if len(shape) == 3 else order[None]
    width = channels.shape[1]
    assert sorted(channels[0]) == list(range(width))
    assert not np.array_equal(channels[0], np.arange(width))
    for c, places in enumerate(channels):
        assert np.array_equal(places - c * width, channels[0])


def test_permutations_are_drawn_anew_for_each_replicate() -> None:
    X = numbered(2, 12)
    orders = {tuple(inputs(X, "permuted", key=order_key(0, "content", r))[0]) for r in range(20)}
    assert len(orders) == 20


@pytest.mark.parametrize("shape", [(12,), (2, 3, 4)])
def test_pixel_shuffled_inputs_have_a_permutation_for_each_row_and_channels_move_together(
    shape: tuple[int, ...],
) -> None:
    X = numbered(600, *shape)
    drawn = inputs(X, "pixel_shuffled")
    assert drawn.shape == X.shape
    places = (drawn - 100 * np.arange(600).reshape(-1, *[1] * len(shape))).astype(int)
    channels = places.reshape(600, shape[0], -1) if len(shape) == 3 else places[:, None]
    width = channels.shape[2]
    assert np.array_equal(np.sort(channels[:, 0]), np.tile(np.arange(width), (600, 1)))
    assert len({tuple(order) for order in channels[:, 0]}) == 600
    for c in range(channels.shape[1]):
        assert np.array_equal(channels[:, c] - c * width, channels[:, 0])


def test_pixel_shuffling_takes_every_place_everywhere_alike() -> None:
    drawn = inputs(numbered(6000, 5), "pixel_shuffled").astype(int) % 100
    for place in range(5):
        assert_uniform(np.argwhere(drawn == place)[:, 1], 5)


@pytest.mark.parametrize("spec", ["gaussian", "permuted", "pixel_shuffled"])
def test_replicates_draw_their_inputs_independently(spec: str) -> None:
    X = IMAGES[:300]
    assert np.array_equal(inputs(X, spec), inputs(X, spec))
    # Shuffled places hold values by chance, gaussian ones never.
    assert np.mean(inputs(X, spec) == inputs(X, spec, key=OTHER_KEY)) < 0.2


@pytest.mark.parametrize("spec", INPUTS.names())
@pytest.mark.parametrize("X", [IMAGES, TABLE], ids=["images", "table"])
@pytest.mark.parametrize("n", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 1000])
def test_the_first_inputs_do_not_depend_on_how_many_there_are(spec: str, X: Any, n: int) -> None:
    drawn = inputs(X, spec, n)
    assert (drawn.shape, drawn.dtype) == (X[:n].shape, np.float32)
    assert np.array_equal(drawn, inputs(X, spec)[:n])


@pytest.mark.parametrize("spec", INPUTS.names())
def test_inputs_made_block_by_block_are_those_made_at_once(spec: str) -> None:
    pool, plugin = PoolStatistics(IMAGES), PluginSpec(spec)
    ends = [0, BLOCK, 3 * BLOCK, 1000]
    parts = [replicate_inputs(IMAGES[start:stop], pool, plugin, KEY, start, stop) for start, stop in pairwise(ends)]
    assert np.array_equal(np.concatenate(parts), inputs(IMAGES, spec))


@pytest.mark.parametrize("spec", ["gaussian", "pixel_shuffled"])
def test_blocks_do_not_repeat_one_another(spec: str) -> None:
    drawn = inputs(np.repeat(IMAGES[:1], 3 * BLOCK, axis=0), spec)
    assert len(np.unique(drawn.reshape(3 * BLOCK, -1), axis=0)) == 3 * BLOCK


@pytest.mark.parametrize("spec", INPUTS.names())
def test_equal_rows_stay_equal_where_a_regime_says_so_and_only_there(spec: str) -> None:
    X = np.concatenate([IMAGES[:5], IMAGES[:5]])
    drawn = inputs(X, spec)
    keeps = bool(INPUTS.get(spec).facts.get("keeps_repeats"))
    assert [np.array_equal(drawn[i], drawn[i + 5]) for i in range(5)] == [keeps] * 5


@pytest.mark.parametrize("spec", INPUTS.names())
def test_every_input_regime_leaves_the_pool_as_it_was(spec: str) -> None:
    X = IMAGES[:10].copy()
    X.setflags(write=False)
    assert inputs(X, spec).shape == X.shape
