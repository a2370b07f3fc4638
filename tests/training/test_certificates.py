"""The linear program against brute force, exact probabilities and problems of known answer."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest

from emc.training import certificates
from emc.training.certificates import Separability, margin_rows, separable

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def decide(X: Array, y: Labels, num_classes: int) -> bool:
    """Whether the problem is separable; it must be decided."""
    proof = separable(X, y, num_classes)
    assert proof.separability is not Separability.UNDECIDED
    assert (proof.separability is Separability.INSEPARABLE) == (proof.residual is not None)
    return proof.separability is Separability.SEPARABLE


def brute_force_in_the_plane(X: Array, y: Labels) -> bool:
    """Two classes of integer points: separating directions form open arcs between normals to differences of points."""
    if len(set(y.tolist())) < 2:
        return True
    angles = {0.0}
    for a, b in itertools.product(X[y == 0], X[y == 1]):
        if not (difference := b - a).any():
            return False
        angle = math.atan2(difference[0], -difference[1])
        angles |= {angle % (2 * math.pi), (angle + math.pi) % (2 * math.pi)}
    ordered = [*sorted(angles), 2 * math.pi]
    for left, right in itertools.pairwise(ordered):
        middle = (left + right) / 2
        heights = X @ np.array([math.cos(middle), math.sin(middle)])
        if right - left > 1e-9 and heights[y == 1].min() > heights[y == 0].max() + 1e-12:
            return True
    return False


def brute_force_on_the_line(x: Array, y: Labels) -> bool:
    """K lines over the real axis: each class is on top on one interval, and any order of intervals can be had."""
    blocks: list[int] = []
    for value in np.unique(x):
        (*others, label) = set(y[x == value].tolist())
        if others:
            return False
        if not blocks or blocks[-1] != label:
            blocks.append(label)
    return len(blocks) == len(set(blocks))


def test_two_classes_in_the_plane_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(150):
        X = rng.integers(-3, 4, size=(6, 2)).astype(float)  # repeats and collinear points occur
        y = rng.integers(0, 2, size=6)
        found.append(decide(X, y, 2))
        assert found[-1] == brute_force_in_the_plane(X, y), (X, y)
    assert 30 < sum(found) < 120


@pytest.mark.parametrize("x", [[-2.0, -1.0, 0.0, 1.0, 2.0], [0.0, 0.0, 1.0, 3.0, 7.0]])
def test_three_classes_on_the_line_against_brute_force(x: list[float]) -> None:
    points = np.array(x)
    for labels in itertools.product(range(3), repeat=5):
        y = np.array(labels)
        assert decide(points[:, None], y, 3) == brute_force_on_the_line(points, y), labels


def cover(n: int, weights: int) -> float:
    """P(n random labels can be separated with so many weights), Cover 1965."""
    return sum(math.comb(n - 1, k) for k in range(weights)) / 2 ** (n - 1)


def test_the_share_of_separable_problems_is_covers() -> None:
    """d = 5 with bias, 300 problems: within four standard deviations at all sizes together and at each."""
    rng = np.random.default_rng(0)
    hits, expected, variance = 0, 0.0, 0.0
    for n in (8, 10, 12, 14, 16):
        own = sum(decide(rng.standard_normal((n, 5)), rng.integers(0, 2, n), 2) for _ in range(60))
        p = cover(n, 6)
        assert abs(own - 60 * p) <= 4 * math.sqrt(60 * p * (1 - p)), n
        hits, expected, variance = hits + own, expected + 60 * p, variance + 60 * p * (1 - p)
    assert cover(12, 6) == 0.5
    assert abs(hits - expected) <= 4 * math.sqrt(variance)


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_as_many_points_as_weights_fit_any_labels(num_classes: int) -> None:
    rng = np.random.default_rng(num_classes)
    for d in (1, 4, 9):
        for _ in range(5):
            assert decide(rng.standard_normal((d + 1, d)), rng.integers(0, num_classes, d + 1), num_classes)


def test_a_separable_problem_is_never_called_inseparable() -> None:
    """Margins from 1e-7 to 1: those the program can resolve are found, and none is disproved."""
    rng = np.random.default_rng(0)
    for margin in 10.0 ** rng.uniform(-7, 0, size=60):
        weights, bias = rng.standard_normal(5), rng.standard_normal()
        weights /= np.linalg.norm(weights)
        X = rng.standard_normal((120, 5))
        height = X @ weights + bias
        X += np.outer(np.sign(height) * np.maximum(margin - np.abs(height), 0), weights)
        found = separable(X, (height > 0).astype(np.int64), 2).separability
        assert found is not Separability.INSEPARABLE, margin
        assert margin < 1e-5 or found is Separability.SEPARABLE, margin


def test_many_classes_separable_by_construction() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        weights = rng.standard_normal((4, 6))
        X = rng.standard_normal((80, 6))
        logits = X @ weights.T
        top = np.sort(logits, axis=1)
        kept = top[:, -1] - top[:, -2] > 1e-3
        assert decide(X[kept], logits.argmax(1)[kept], 4)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_scale_of_the_inputs_changes_nothing(scale: float) -> None:
    rng = np.random.default_rng(2)
    problems = [(rng.standard_normal((12, 5)), rng.integers(0, 2, 12)) for _ in range(20)]
    plain = [decide(X, y, 2) for X, y in problems]
    assert [decide(scale * X, y, 2) for X, y in problems] == plain
    assert {True, False} == set(plain)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_equal_inputs_with_different_labels_are_inseparable(num_classes: int) -> None:
    X = np.random.default_rng(0).standard_normal((4, 6))
    X[3] = X[1]
    proof = separable(X, np.array([0, 0, 1, 1]), num_classes)
    assert proof.separability is Separability.INSEPARABLE
    assert proof.residual is not None
    assert proof.residual <= 1e-9


def test_xor_is_inseparable() -> None:
    X = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    assert not decide(X, np.array([0, 1, 1, 0]), 2)
    assert decide(X, np.array([0, 1, 1, 1]), 2)


def test_one_class_only_is_separable() -> None:
    assert decide(np.zeros((3, 2)), np.ones(3, dtype=np.int64), 2)


def test_inputs_of_any_shape_are_flattened() -> None:
    X = np.random.default_rng(0).standard_normal((6, 1, 2, 3))
    y = np.array([0, 1, 0, 1, 1, 0])
    assert decide(X, y, 2) == decide(X.reshape(6, 6), y, 2)


def test_a_program_too_large_is_left_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "MAX_NONZEROS", 10)
    proof = separable(np.eye(4), np.array([0, 1, 0, 1]), 2)
    assert (proof.separability, proof.residual) == (Separability.UNDECIDED, None)


@pytest.mark.parametrize("num_classes", [3, 4])
def test_margin_rows_are_the_margins(num_classes: int) -> None:
    rng = np.random.default_rng(0)
    points, weights = rng.standard_normal((5, 3)), rng.standard_normal((num_classes, 3))
    y = rng.integers(0, num_classes, 5)
    logits = points @ weights.T
    expected = [logits[i, y[i]] - logits[i, k] for i in range(5) for k in range(num_classes) if k != y[i]]
    np.testing.assert_allclose(margin_rows(points, y, num_classes) @ weights.ravel(), expected, rtol=1e-12)


def test_two_classes_need_one_weight_vector() -> None:
    points = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(margin_rows(points, np.array([1, 0]), 2).toarray(), [[1, 2], [-3, -4]])
