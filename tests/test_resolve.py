"""From names to what trains."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from emc.api import Prepared, prepare
from emc.errors import DataError, SpecError, UnknownNameError
from emc.optimizers import OPTIMIZERS
from emc.resolve import load_data, pick_device, resolve_sizes
from emc.specs import Measurement, Search, Task
from emc.training.schedules import SCHEDULES

RNG = np.random.default_rng(0)
ARRAYS = (RNG.standard_normal((30, 5)), RNG.integers(0, 3, 30))


def resolved(own_model: Any = None, dataset: Any = None, **settings: Any) -> Prepared:
    return prepare(Measurement.from_flat(settings), model=own_model, dataset=dataset)


@pytest.mark.parametrize(
    ("setting", "texts", "inner"),
    [
        ("optimizer", ("sam", "sam:base=adam|beta1=0.9", "sam:lr=0.003"), "adam"),
        ("schedule", ("warmup", "warmup:then=reactive|patience=5"), "reactive"),
    ],
)
def test_plugins_within_others_are_known_by_all_their_options_and_versions(
    setting: str, texts: tuple[str, ...], inner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bases = {resolved(**{setting: text}).base for text in texts}
    assert len(bases) == 1
    registry = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}[setting]
    newer = replace(registry.get(inner), version=2)
    monkeypatch.setattr(registry, "_plugins", registry._plugins | {inner: newer})
    assert resolved(**{setting: texts[0]}).base not in bases


def linear_model(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Linear(shape[0], classes)


def test_every_default_is_written_out() -> None:
    measurement = resolved().measurement
    assert str(measurement.procedure.model) == "mlp:width=16,depth=1"
    assert str(measurement.procedure.activation) == "relu"
    assert str(measurement.procedure.optimizer).startswith("adam:lr=")
    assert str(measurement.procedure.schedule).startswith("reactive:factor=")
    assert (measurement.search.n_start, measurement.search.n_max) == (16, 1797)
    again = Measurement.from_dict(measurement.to_dict())
    assert again.to_dict() == measurement.to_dict()
    assert prepare(again).base == prepare(measurement).base == resolved().base


def test_identity_follows_what_can_change_a_verdict() -> None:
    base = resolved().base
    assert base == resolved(replicates=3, tolerance=0.1, confidence=0.9, activation="relu", model="mlp:depth=1").base
    others = [
        {"seed": 1},
        {"model": "mlp:width=17"},
        {"activation": "tanh"},
        {"optimizer": "adam:lr=0.01"},
        {"schedule": "cosine"},
        {"labels": "random"},
        {"inputs": "permuted"},
        {"classes": 5},
        {"data": "wine"},
        {"min_steps": 7},
        {"precision": "float64"},
    ]
    assert len({base, *(resolved(**other).base for other in others)}) == len(others) + 1


def test_probes_are_shared_by_criteria_that_train_alike() -> None:
    """Those of a loss end elsewhere; those of an error do where repeated inputs are kept, which fit needs not train."""
    base = resolved().base
    assert resolved(criterion="error<=0.1").base == base
    assert resolved(criterion="error<=0.1").fingerprint != resolved().fingerprint
    assert len({base, *(resolved(criterion=text).base for text in ("loss<=0.1", "loss<=0.2"))}) == 3
    X, y = ARRAYS
    repeated = (np.concatenate([X, X]), np.concatenate([y, (y + 1) % 3]))
    kept = [
        resolved(dataset=repeated, duplicates="keep", criterion=text) for text in ("fit", "error<=0.1", "error<=0.2")
    ]
    assert kept[0].base != kept[1].base == kept[2].base
    assert [one.setup.trains_conflicts for one in kept] == [False, True, True]


def test_a_model_matched_by_its_size_is_that_model() -> None:
    """Same keys and same record as the named one, but for how it was found."""
    found = resolved(model="mlp:depth=2", match_parameters=2000)
    assert str(found.measurement.procedure.model) == "mlp:width=21,depth=2"
    assert found.matched == {
        "asked": 2000,
        "parameters": 2047,
        "ratio": 2047 / 2000,
        "recipe": "width",
        "family": "mlp:width=16,depth=2",
    }
    named = resolved(model="mlp:width=21,depth=2")
    assert (found.base, found.fingerprint, found.parameters) == (named.base, named.fingerprint, 2047)
    assert found.measurement == named.measurement
    assert found.cell == {"model": "mlp:depth=2", "match_parameters": 2000}
    assert named.matched is None
    deeper = resolved(match_parameters=2000, match_recipe="depth")
    assert str(deeper.measurement.procedure.model) == "mlp:width=16,depth=4"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "linear"}, "a recipe scales options of a family, got linear, which has none"),
        ({"match_recipe": "sovit"}, "recipe sovit scales the mlp of a family, got mlp, which has none"),
        ({"own_model": linear_model}, "--match-parameters needs a family by name, got 2000 for a model of your own"),
        (
            {"reparam": "some"},
            "--match-parameters counts the parameters of a family, got 2000 with --reparam some, which trains others",
        ),
        ({"match_parameters": 0}, "--match-parameters must be between 1 and 1000000000000, got 0"),
        ({"match_parameters": 2 * 10**12}, "must be between 1 and 1000000000000, got 2000000000000"),
        ({"match_parameters": None, "match_recipe": "width"}, "--match-recipe says along what --match-parameters see"),
    ],
)
def test_sizes_that_cannot_be_matched(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        resolved(**{"match_parameters": 2000} | settings)


def test_the_fingerprint_follows_the_search_too() -> None:
    found = {
        resolved(**other).fingerprint
        for other in ({}, {"replicates": 3}, {"tolerance": 0.1}, {"n_max": 100}, {"confidence": 0.9}, {"seed": 1})
    }
    assert len(found) == 6
    assert resolved(n_start=16, n_max=1797).fingerprint in found


def test_the_same_rows_under_another_name_are_the_same_task() -> None:
    assert resolved(data="gaussian:dim=5,size=40").base == resolved(data="gaussian:size=40,dim=5,seed=0").base


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "mpl"}, 'there is no model "mpl"; did you mean "mlp"'),
        ({"model": "mlp:widht=3"}, 'model mlp has no option "widht"; did you mean "width"'),
        ({"optimizer": "adma"}, 'there is no optimizer "adma"; did you mean "adam"'),
        ({"activation": "rleu"}, 'there is no activation "rleu"; did you mean "relu"'),
        ({"schedule": "cosin"}, 'there is no schedule "cosin"; did you mean "cosine"'),
        ({"labels": "randm"}, 'there is no label regime "randm"; did you mean "random"'),
        ({"inputs": "gausian"}, 'there is no input regime "gausian"; did you mean "gaussian"'),
        ({"data": "digit"}, 'there is no dataset "digit"; did you mean "digits"'),
        ({"replicats": 3}, 'there is no setting "replicats"; did you mean "replicates"'),
    ],
)
def test_unknown_names(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        resolved(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "mlp:width=0"}, "mlp needs width and depth of at least 1, got width=0"),
        (
            {"model": "linear", "activation": "relu"},
            "--activation needs a model that takes one, got relu for model lin",
        ),
        ({"own_model": linear_model, "activation": "relu"}, "got relu for a model of your own; leave it out"),
        ({"model": "cnn", "data": "wine"}, r"cnn needs images .* got inputs of shape \(13,\); use mlp"),
        ({"optimizer": "adam:lr=0"}, "optimizer adam takes lr above 0 and finite, got 0"),
        ({"schedule": "reactive:factor=2"}, "schedule reactive takes factor, floor and gain between 0 and 1"),
        ({"labels": "noise:p=2"}, "label regime noise takes p between 0 and 1, got 2"),
        ({"classes": 11}, "semantic labels have at most the dataset's 10 classes, got --classes 11; lower it"),
        ({"classes": 11, "labels": "shuffled"}, "shuffled labels have at most the dataset's 10 classes"),
        ({"n_max": 5000}, "--n-max must be at most the pool's 1797 rows, got 5000; lower it or use a larger pool"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        resolved(**settings)


@pytest.mark.parametrize(
    ("search", "classes", "rows", "sizes"),
    [
        (Search(), 10, 1000, (16, 1000)),
        (Search(), 100, 1000, (100, 1000)),
        (Search(), 10, 12, (12, 12)),
        (Search(n_max=7), 10, 1000, (7, 7)),
        (Search(n_start=3, n_max=500), 10, 1000, (3, 500)),
    ],
)
def test_sizes(search: Search, classes: int, rows: int, sizes: tuple[int, int]) -> None:
    assert resolve_sizes(search, classes, rows).sizes == sizes


def test_a_first_size_above_the_pool_is_told() -> None:
    with pytest.raises(SpecError, match=r"--n-start must be at most the pool's 1797 rows, got 5000; lower it"):
        resolved(n_start=5000)


@pytest.mark.parametrize("labels", ["random", "semantic"])
def test_fewer_classes(labels: str) -> None:
    prepared = resolved(labels=labels, classes=3)
    assert prepared.num_classes == 3
    assert prepared.parameters == 65 * 16 + 17 * 3
    assert sorted(prepared.setup.pool.samples(0).y.unique().tolist()) == [0, 1, 2]


def test_random_labels_may_have_more_classes_than_the_dataset() -> None:
    prepared = resolved(labels="random", classes=40)
    assert prepared.parameters == 65 * 16 + 17 * 40
    assert len(prepared.setup.pool.samples(0).y.unique()) == 40


def raising(error: Exception) -> Callable[[tuple[int, ...], int], nn.Module]:
    class Raising(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, _X: Tensor) -> Tensor:
            raise error

    return lambda _shape, _classes: Raising()


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(X), X


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda _s, _k: nn.Linear(5, 4), r"the model must give \(samples, 3\) logits, got \(2, 4\) for 2 samples"),
        (lambda _s, _k: nn.Flatten(0), r"the model must give \(samples, 3\) logits, got \(10,\) for 2 samples"),
        (
            lambda _s, _k: nn.Linear(7, 3),
            r"the model must take inputs of shape \(5,\), got RuntimeError: mat1 and mat2",
        ),
        (lambda _s, _k: Pair(), r"the model must take inputs of shape \(5,\), got AttributeError"),
        (lambda _s, _k: None, r"the model must take inputs of shape \(5,\), got AttributeError"),
        (raising(KeyError("missing")), "got KeyError: 'missing'"),
        (raising(RuntimeError("one line\nand another")), "got RuntimeError: one line$"),
        (lambda _s, _k: linear_model((5,), 3).requires_grad_(False), "the model must have trainable parameters, got n"),
    ],
)
def test_a_model_that_does_not_suit_is_told_in_one_sentence(model: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        resolved(own_model=model, dataset=ARRAYS)
    assert "\n" not in str(caught.value)


def test_a_callable_is_known_by_source_and_forward_pass() -> None:
    def narrow(scale: float) -> Any:
        def scaled(shape: tuple[int, ...], classes: int) -> nn.Module:
            layer = nn.Linear(shape[0], classes)
            layer.weight.data *= scale
            return layer

        return scaled

    one, same, other = (resolved(own_model=narrow(scale), dataset=ARRAYS) for scale in (1.0, 1.0, 2.0))
    assert one.setup.identified
    assert one.base == same.base
    assert one.base != other.base
    assert one.measurement.procedure.model.name == "callable"
    assert "scaled" in str(one.measurement.procedure.model)


def test_a_callable_without_source_has_no_identity() -> None:
    prepared = resolved(own_model=functools.partial(linear_model), dataset=ARRAYS)
    assert not prepared.setup.identified
    assert prepared.parameters == 18


def test_a_linear_plugin_is_known_to_be_linear_and_a_callable_is_not() -> None:
    assert resolved(model="linear").setup.linear
    assert not resolved(model="mlp").setup.linear
    assert not resolved(own_model=linear_model, dataset=ARRAYS).setup.linear


def test_arrays_are_copied_and_their_labels_numbered() -> None:
    X = np.arange(12.0).reshape(6, 2)
    prepared = resolved(dataset=(X, np.array(["b", "a", "b", "c", "a", "a"])))
    X[:] = 0
    assert prepared.dataset.facts.classes == ("a", "b", "c")
    assert prepared.dataset.y.tolist() == [1, 0, 1, 2, 0, 0]
    assert prepared.dataset.X.tolist() == np.arange(12.0).reshape(6, 2).tolist()
    assert str(prepared.measurement.task.data) == "arrays"


def test_tensors_and_lists_are_arrays_too() -> None:
    X, y = torch.arange(12.0).reshape(6, 2), torch.tensor([0, 1, 0, 1, 0, 1])
    contents = {
        resolved(dataset=data).dataset.facts.content_hash for data in ((X, y), (X.tolist(), y.tolist()), (X.numpy(), y))
    }
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((np.ones((4, 2)), [0, 1, 0]), "one label a row"),
        (([["a", "b"]], [0]), "data must be arrays X of numbers and y of classes, got list"),
        ((np.eye(3), [1, 1, 1]), "must have at least 2 classes, got 1"),
        ((np.array([[1.0], [np.nan]]), [0, 1]), "inputs of arrays must be finite, got 1 NaN or infinite values"),
        ((np.arange(4.0), [0, 1, 0, 1]), "one label a row"),
    ],
)
def test_arrays_that_are_no_task(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        resolved(dataset=data)


def test_cuda_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpecError, match="--device cuda needs a CUDA device, but PyTorch sees none; use --device cpu"):
        pick_device("cuda")
    assert pick_device("auto").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"
    assert pick_device("cpu").type == "cpu"


def test_a_clusters_device_is_its_own() -> None:
    assert pick_device("auto", "slurm:gpus=1").type == "cuda"
    assert pick_device("auto", "slurm").type == "cpu"
    with pytest.raises(SpecError, match="--device cuda needs a CUDA device, but the cluster slurm has none"):
        pick_device("cuda", "slurm")


def test_resolving_leaves_the_global_generator() -> None:
    torch.manual_seed(4)
    before = torch.get_rng_state()
    prepared = resolved()
    assert prepared.parameters == 1210
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (np.zeros((200, 3)), r"a pair \(X, y\), got ndarray; pass data=\(X, y\)"),
        ((np.zeros((4, 3)), [0.5, 1.5, 0.5, 1.0]), "y must be classes, got fractions such as 0.5"),
    ],
)
def test_what_is_no_classification_task_is_told(own: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_data(Task(), own)
