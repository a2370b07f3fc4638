from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from simulated import cell

from emc.hypotheses.cells import (
    FAMILY,
    clusters,
    dimensions,
    groups,
    is_net,
    learned,
    name,
    option,
    pairs,
    settings,
    subject,
    unlearned,
)


def test_settings_hold_each_option_and_not_where_the_search_looked() -> None:
    found = settings(cell([10], model="mlp:width=4,depth=2", labels="noise:p=0.2"))
    assert (found["model"], found["model.width"], found["labels.p"]) == ("mlp", "4", "0.2")
    assert not {"n_start", "n_max"} & found.keys()


@pytest.mark.parametrize(
    ("given", "ignore", "count"),
    [
        ({"model": "mlp:width=8"}, (), 2),
        ({"model": "mlp:width=8"}, ("model.",), 1),
        ({"model": "cnn:width=4"}, ("model.",), 2),
        ({"model": "cnn:width=4"}, ("=model",), 1),
        ({"model": "cnn:width=8"}, ("=model",), 2),
        ({"model": "cnn:width=8"}, ("model",), 1),
    ],
)
def test_what_is_ignored(given: dict[str, Any], ignore: tuple[str, ...], count: int) -> None:
    assert len(groups([cell([10], model="mlp:width=4"), cell([10], **given)], ignore)) == count


@pytest.mark.parametrize("ignore", [("model",), ("model.",)])
def test_regularisers_of_a_model_are_never_ignored_with_it(ignore: tuple[str, ...]) -> None:
    with_it, without = cell([10], model="mlp:width=8,dropout=0.3"), cell([10], model="mlp:width=4")
    assert len(groups([with_it, without], ignore)) == 2
    assert len(groups([with_it, without], (*ignore, "model.dropout"))) == 1
    assert (
        len(groups([cell([1], model="vit:dropout=0"), cell([1], model="mlp"), cell([1], model="linear")], FAMILY)) == 1
    )


def test_what_is_no_size_is_not_ignored_with_the_sizes() -> None:
    held = [cell([1], model=f"resnet:width=4,norm={norm}") for norm in ("batch", "none")]
    assert len(groups(held, ("model.",))) == 2
    assert len(groups([cell([1], model="vit:dim=8,heads=2"), cell([1], model="vit:dim=16,heads=4")], ("model.",))) == 1


def test_a_default_activation_is_equal_whatever_its_name() -> None:
    same = [
        cell([1], model="mlp", activation="relu"),
        cell([1], model="mlp"),
        cell([1], model="vit", activation="gelu"),
    ]
    assert {settings(each)["activation"] for each in same} == {"default"}
    assert settings(cell([1], model="vit", activation="relu"))["activation"] == "relu"


def test_adamw_without_decay_is_adam() -> None:
    assert settings(cell([1], optimizer="adamw:weight_decay=0.0"))["optimizer"] == "adam"
    assert settings(cell([1], optimizer="adamw:weight_decay=0.1"))["optimizer"] == "adamw"


def test_rates_that_were_tuned_are_equal() -> None:
    tuning = {"tuner": "halving", "trials": [{"candidate": {"lr": 1, "batch_size": 128}}]}
    a, b = (replace(cell([1], optimizer=f"adam:lr={lr}"), tuning=tuning) for lr in (0.1, 0.2))
    assert len(groups([a, b], ())) == 1
    assert len(groups([a, cell([1], optimizer="adam:lr=0.1")], ())) == 2


def test_loose_settings_count_only_where_there_is_no_pair_otherwise() -> None:
    cnn, near, far = cell([1], model="cnn"), cell([1], model="mlp"), cell([1], model="mlp", min_steps=10)
    asked = (lambda r: name(r, "model") == "cnn", lambda r: name(r, "model") == "mlp")
    assert pairs([cnn, near, far], ("model",), *asked, loose=("min_steps",)) == [(cnn, near)]
    assert pairs([cnn, far], ("model",), *asked, loose=("min_steps",)) == [(cnn, far)]
    assert pairs([cnn, far], ("model",), *asked) == []


def test_clusters_by_size() -> None:
    cells = [cell([1], parameters=p) for p in (530, 1000, 1035, 547, 1036, 1100)]
    assert [[each.parameters for each in c] for c in clusters(cells)] == [[530, 547], [1000, 1035], [1036], [1100]]


def test_structure_is_learned_well_above_chance_only() -> None:
    """Of ten classes 0.13 is significant over ten thousand rows, and nothing that a model fits by."""
    ten = [cell([1], accuracy=accuracy, classes=10) for accuracy in (0.13, 0.29)]
    assert [learned(each) for each in ten] == [False, True]
    assert learned(cell([1], accuracy=0.51)) is False  # of two classes, the dataset's own
    for unknown in (cell([1]), cell([1], accuracy=0.9, labels="random"), cell([1], accuracy=0.9, inputs="gaussian")):
        assert learned(unknown) is None
    assert unlearned([ten[0], cell([1])])
    assert not unlearned(ten)
    assert not unlearned([cell([1])])


def test_one_subject_whatever_its_training() -> None:
    """Nor whatever regularises it: but another net, other labels or another number of classes is another."""
    base = cell([1], model="mlp:width=8")
    for same in ({"optimizer": "sgd"}, {"seed": 1}, {"min_steps": 9}, {"test_split": 0.2}, {"label_smoothing": 0.1}):
        assert subject(cell([1], model="mlp:width=8", **same)) == subject(base)
    assert subject(cell([1], model="mlp:width=8,dropout=0.1")) == subject(base)
    for other in ({"labels": "random"}, {"classes": 2}, {"activation": "tanh"}, {"data": "wine"}, {"parameters": 9}):
        assert subject(cell([1], model="mlp:width=8", **other)) != subject(base)


def test_depth_and_width_by_the_family() -> None:
    deep = cell([1], model="resnet:width=4,blocks=2|2|3")
    assert (dimensions(deep, "depth"), dimensions(deep, "width")) == (7, 4)
    assert dimensions(cell([1], model="linear"), "width") is None


def test_a_model_or_training_of_a_users_own_has_no_family() -> None:
    own = cell([1], train="mine.py:fit")
    assert not is_net(own)
    assert name(own, "model") == "none"
    assert option(own, "model", "width") is None
    assert settings(own)["train"] == "mine.py"
