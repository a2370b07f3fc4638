"""Dropout of the chains, which must leave them what they were where it is off."""

from __future__ import annotations

import pytest
from torch import nn

from emc.api import prepare
from emc.errors import SpecError
from emc.models import MODELS
from emc.specs import Measurement


@pytest.mark.parametrize("text", ["mlp:depth=2", "cnn"])
def test_without_dropout_nothing_is_added(text: str) -> None:
    before = MODELS.build(text, (1, 8, 8), 10, nn.ReLU)
    assert "Dropout" not in repr(before)
    assert repr(MODELS.build(f"{text.partition(':')[0]}:dropout=0", (1, 8, 8), 10, nn.ReLU)) == repr(
        MODELS.build(text.partition(":")[0], (1, 8, 8), 10, nn.ReLU)
    )


@pytest.mark.parametrize(
    ("text", "base", "fingerprint"),
    [
        ("mlp", "cf87ac0ebdd3b61d747e0fa2", "36705ee0b45125f5"),
        ("mlp:width=7,depth=2", "f6cc5b968df4250d09bc84eb", "396df92d9a62f027"),
        ("cnn:dropout=0", "6b93b16887642567a5ae4106", "929d59814b39d8c1"),
    ],
)
def test_keys_are_those_of_before_there_was_dropout(text: str, base: str, fingerprint: str) -> None:
    found = prepare(Measurement.from_flat({"model": text}))
    assert (found.base, found.fingerprint) == (base, fingerprint)


def test_dropout_follows_each_activation_and_has_keys_of_its_own() -> None:
    module = MODELS.build("mlp:depth=2,dropout=0.1", (6,), 3, nn.ReLU)
    assert [type(layer).__name__ for layer in module] == ["Flatten", *["Linear", "ReLU", "Dropout"] * 2, "Linear"]
    module = MODELS.build("cnn:depth=1,dropout=0.1", (1, 8, 8), 3, nn.ReLU)
    kinds = [type(layer).__name__ for layer in module]
    assert kinds[:4] == ["Conv2d", "ReLU", "Dropout", "MaxPool2d"]
    assert kinds[-4:] == ["Linear", "ReLU", "Dropout", "Linear"]
    bases = {prepare(Measurement.from_flat({"model": f"mlp:dropout={p}"})).base for p in (0, 0.1, 0.2)}
    assert len(bases) == 3


@pytest.mark.parametrize("text", ["mlp:dropout=1", "cnn:dropout=-0.1"])
def test_dropout_is_a_probability_below_one(text: str) -> None:
    with pytest.raises(SpecError, match="needs dropout of at least 0 and below 1, got"):
        MODELS.build(text, (1, 8, 8), 10, nn.ReLU)
