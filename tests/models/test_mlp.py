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
        ("mlp", "e2e0cef08cd425e7bf91f3da", "21e1822907f2cba6"),
        ("mlp:width=7,depth=2", "3435bc4e20f59883cac8c689", "1166f9bcfc94d5e2"),
        ("cnn:dropout=0", "06047521d283c8ecbc12fc4d", "4765abb97e80f26f"),
    ],
)
def test_keys_without_dropout_stay_what_they_are(text: str, base: str, fingerprint: str) -> None:
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
