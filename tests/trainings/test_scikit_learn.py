"""scikit-learn's classifiers, held against what they can fit at most."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sklearn

import emc
from emc.api import prepare
from emc.errors import SpecError, TrainingError, UnknownNameError
from emc.results import EmcResult
from emc.specs import Measurement, Probe

TREE = "sklearn:estimator=DecisionTreeClassifier"


def measure(model: str, **settings: Any) -> EmcResult:
    return emc.measure(model=model, **{"labels": "random", "replicates": 2, "tolerance": 0.0} | settings)


@pytest.mark.parametrize("model", [TREE, "sklearn:estimator=KNeighborsClassifier,n_neighbors=1"])
def test_what_can_memorise_fits_everything(model: str) -> None:
    found = measure(model, data="wine", classes=5)
    assert (found.emc, found.status.key) == (178, "censored_above")


@pytest.mark.parametrize("leaves", [2, 5, 16, 33])
def test_a_tree_fits_as_many_classes_as_it_has_leaves(leaves: int) -> None:
    """Where every sample is a class of its own no two can share a leaf, and every split parts some."""
    X = np.random.default_rng(leaves).standard_normal((64, 3))
    found = measure(f"{TREE},max_leaf_nodes={leaves}", data=(X, np.arange(64)), labels="semantic")
    assert [replicate.emc for replicate in found.replicates] == [leaves, leaves]


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_a_depth_bounds_the_classes_too(depth: int) -> None:
    X = np.random.default_rng(depth).standard_normal((64, 3))
    found = measure(f"{TREE},max_depth={depth}", data=(X, np.arange(64)), labels="semantic")
    assert all(depth + 1 <= replicate.emc <= 2**depth for replicate in found.replicates)


def runs(X: npt.NDArray[Any], y: npt.NDArray[Any]) -> int:
    """Pieces of a line on which the label does not change."""
    return 1 + int(np.count_nonzero(np.diff(y[np.argsort(X[:, 0])])))


@pytest.mark.parametrize(("leaves", "classes"), [(4, 2), (12, 2), (12, 5)])
def test_on_a_line_a_tree_fits_as_many_runs_as_it_has_leaves(leaves: int, classes: int) -> None:
    """More samples than leaves fit, since neighbours of one label share a leaf; the runs are counted by hand."""
    settings = {"data": "gaussian:dim=1,size=400", "classes": classes, "labels": "random", "replicates": 4}
    model = f"{TREE},max_leaf_nodes={leaves}"
    found = measure(model, **settings)
    setup = prepare(Measurement.from_flat({"model": model, **settings})).setup
    for replicate in found.replicates:
        X, y = (part.numpy() for part in setup.samples(Probe("", 400, replicate.replicate)).first(400))
        assert replicate.emc == max(n for n in range(1, 401) if runs(X[:n], y[:n]) <= leaves)
    assert found.emc > leaves


def test_a_forest_is_seeded_by_the_probe_and_the_version_is_recorded() -> None:
    model = "sklearn:estimator=RandomForestClassifier,n_estimators=2,max_depth=4"
    first, again, other = (measure(model, n_max=128, seed=seed) for seed in (0, 0, 1))
    counts = [[probe.correct for probe in found.probes] for found in (first, again, other)]
    assert counts[0] == counts[1] != counts[2]
    assert first.procedure["content"] == f"scikit-learn {sklearn.__version__}"
    assert first.procedure["train"] == "sklearn:estimator=RandomForestClassifier,max_depth=4,n_estimators=2"
    assert "model" not in first.procedure
    assert first.fingerprint == measure(model.replace("n_estimators=2,max_depth=4", "max_depth=4,n_estimators=2"),
                                        n_max=128).fingerprint  # fmt: skip


def test_samples_of_one_class_need_no_classifier() -> None:
    """Logistic regression refuses them; at n = 1 every sample is one."""
    found = measure("sklearn:estimator=LogisticRegression,max_iter=1", n_start=1, n_max=3)
    assert found.emc >= 1


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("sklearn:estimator=DecisionTreeClasifier", UnknownNameError, r'did you mean "DecisionTreeClassifier"\?'),
        ("sklearn:estimator=LinearRegression", UnknownNameError, r"scikit-learn has no classifier"),
        ("sklearn", SpecError, r"training sklearn needs estimator; write sklearn:estimator=\.\.\."),
        ("sklearn:estimator=StackingClassifier", SpecError, r"which needs estimators; write a function"),
        (f"{TREE},max_deph=3", UnknownNameError, r'no parameter "max_deph"; did you mean "max_depth"\?'),
        (f"{TREE},max_depth=-3", SpecError, r"takes other values: The 'max_depth' parameter"),
        (f"{TREE},max_depth=deep", SpecError, r"takes other values: The 'max_depth' parameter"),
        (f"{TREE},random_state=1", SpecError, r"random_state is set from the seed of every probe"),
    ],
)
def test_mistakes(model: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        measure(model)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_steps": 10}, r"^training sklearn has no budget of steps, got --min-steps 10; leave it out$"),
        ({"optimizer": "sgd"}, r"which emc cannot set, got --optimizer sgd too"),
        ({"precision": "float64"}, r"got --precision float64 too; leave it out$"),
        ({"tune": "halving"}, r"^--tune tunes optimizers of emc's own"),
        ({"criterion": "loss<=0.1"}, r"tells no loss"),
        ({"device": "cuda"}, r"picks its device itself"),
        ({"trainer": "single"}, r"^--trainer is for procedures of emc's own"),
        ({"content": "scikit-learn 0.1"}, r'^--content must be that of what is measured, "scikit-learn'),
    ],
)
def test_settings_that_mean_nothing_to_it_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        measure(TREE, **settings)


def test_its_name_may_stand_alone() -> None:
    full, bare = (
        prepare(Measurement.from_flat({"train": f"sklearn:{text}GaussianNB"})).fingerprint
        for text in ("estimator=", "")
    )
    assert full == bare


def test_a_classifier_that_needs_more_samples_names_the_remedy() -> None:
    with pytest.raises(
        TrainingError, match=r"^KNeighborsClassifier must take 16 samples, got ValueError: .* --n-start"
    ):
        measure("sklearn:KNeighborsClassifier,n_neighbors=40", n_max=64)
