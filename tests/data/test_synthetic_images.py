"""Generated images: a function of their numbers, which a model can learn from and a linear one cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from emc.data import DATA, load
from emc.data.split import hold_out
from emc.errors import SpecError

#: Levels of the channels of image 5 at one pixel.
KNOWN = [179.0, 199.0, 135.0]

SPEC = "synthetic_images:classes=4,size=12,count={}"


def test_an_image_is_a_function_of_its_number() -> None:
    small, large = load(SPEC.format(300)), load(SPEC.format(20_000))
    index = np.random.default_rng(0).permutation(300)
    together = large.rows.read(index)
    assert np.array_equal(together, small.X.numpy()[index])
    assert np.array_equal(together[7], large.rows.read(index[7:8])[0])
    assert together.shape == (300, 3, 12, 12)
    assert large.y[:9].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert small.facts.content_hash != large.facts.content_hash
    assert len(np.unique(together.reshape(300, -1), axis=0)) == 300


def test_other_options_are_other_images() -> None:
    def first(options: str = "") -> np.ndarray:
        return load(SPEC.format(100) + options).rows.read(np.arange(4))

    assert not np.array_equal(first(), first(",seed=1"))
    assert first(",channels=1").shape == (4, 1, 12, 12)
    assert first(",channels=5").shape == (4, 5, 12, 12)


def test_levels_are_whole_bytes_and_known() -> None:
    """The same numbers on every machine: a change of them is a change of results."""
    levels = DATA.build(SPEC.format(100)).X.levels(np.arange(64))
    assert np.array_equal(levels, np.round(levels))
    assert 0 <= levels.min() < levels.max() <= 255
    assert 120 < levels.mean() < 136
    assert levels[5, :, 3, 7].tolist() == KNOWN


def test_millions_cost_nothing_before_they_are_read() -> None:
    pool = DATA.build("synthetic_images:count=3000000")
    assert len(pool.X) == 3_000_000
    assert pool.X.read(np.array([2_999_999])).shape == (1, 3, 32, 32)


def test_a_test_split_is_of_other_images() -> None:
    whole = load(SPEC.format(200))
    pool = hold_out(whole, 0.25)
    assert pool.test is not None
    assert (len(pool.rows), len(pool.test.rows)) == (150, 50)
    both = torch.cat([pool.X, pool.test.X]).flatten(1)
    assert len(both.unique(dim=0)) == 200
    assert pool.facts.content_hash != whole.facts.content_hash


def train(make_model: type[nn.Module] | object, X: torch.Tensor, y: torch.Tensor, epochs: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = make_model()  # type: ignore[operator]
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(epochs):
            for batch in torch.randperm(len(X)).split(50):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(X[batch]), y[batch]).backward()
                optimizer.step()
    return model


def test_a_cnn_generalises_where_a_linear_model_does_not() -> None:
    pool = load("synthetic_images:classes=4,size=12,count=100000")
    seen, fresh = np.arange(1500), np.arange(50_000, 50_400)
    X, unseen = (torch.from_numpy(pool.rows.read(index)) for index in (seen, fresh))

    def cnn() -> nn.Module:
        convolutions = nn.Conv2d(3, 16, 5, padding=2, stride=2), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU()
        return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))

    def linear() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(432, 4))

    def accuracy(model: nn.Module) -> float:
        with torch.no_grad():
            return float((model(unseen).argmax(1) == pool.y[50_000:50_400]).float().mean())

    assert accuracy(train(cnn, X, pool.y[:1500], 8)) > 0.8
    assert accuracy(train(linear, X, pool.y[:1500], 8)) < 0.45


@pytest.mark.parametrize("option", ["classes=1", "size=3", "count=5", "channels=0", "seed=-1", "count=3000000000"])
def test_options_out_of_range(option: str) -> None:
    name, value = option.split("=")
    with pytest.raises(SpecError, match=rf"data synthetic_images takes {name} from \d+ to \d+, got {value}"):
        load(f"synthetic_images:{option}")
