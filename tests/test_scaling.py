"""Members nearest to sizes, against formulas and against every member of a path."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import emc
from emc.errors import SpecError, UnknownNameError
from emc.models import MODELS
from emc.models.axes import Axis
from emc.models.recipes import RECIPES
from emc.scaling import Path, count_parameters, read_sizes, recipes_of, scale

DIGITS = (1, 8, 8)


def path(family: str, recipe: str | None = None) -> Path:
    return Path.of(MODELS.resolve(family), recipe)


@given(st.integers(1, 10**7))
def test_the_nearest_width_is_the_nearest_by_the_formula(asked: int) -> None:
    """One hidden layer of w units has 75 w + 10 parameters."""
    found = path("mlp").nearest(asked, DIGITS, 10)
    near = max(1, round((asked - 10) / 75))
    best = min((75 * w + 10 for w in range(max(1, near - 1), near + 2)), key=lambda p: (abs(math.log(p / asked)), p))
    assert found.parameters == best
    assert found.model == f"mlp:width={(best - 10) // 75},depth=1"
    assert found.ratio == best / asked


@pytest.mark.parametrize(
    ("family", "recipe"),
    [
        ("mlp", "compound"),
        ("mlp_standard", "depth"),
        ("mlp_bottleneck:width=6", "compound"),
        ("vit:dim=12,depth=2,heads=2", "svit"),
        ("vit:dim=12,depth=2,heads=2", "sovit"),
        ("mixer:dim=8", "sovit"),
        ("cnn", "compound"),
    ],
)
def test_no_member_along_the_path_is_nearer(family: str, recipe: str) -> None:
    members = path(family, recipe)
    counts = {count_parameters(members.at(1.06**step), members.activation, DIGITS, 10) for step in range(-45, 15)}
    for asked in (500, 3_000, 9_000):
        found = members.nearest(asked, DIGITS, 10)
        nearest = min(counts, key=lambda count: abs(math.log(count / asked)))
        assert abs(math.log(found.parameters / asked)) <= abs(math.log(nearest / asked)) + 1e-12


def test_a_path_grows_with_its_scale() -> None:
    for family, recipe in (("vit:heads=3,dim=12", "sovit"), ("mixer", "svit"), ("cnn", "compound")):
        members = path(family, recipe)
        scales = [1.08**step for step in range(-25, 20)]
        counts = [count_parameters(members.at(s), members.activation, DIGITS, 10) for s in scales]
        assert counts == sorted(counts)
        assert str(members.at(1.0)) == str(MODELS.resolve(family))


def test_every_family_with_axes_scales_along_each_of_its_recipes() -> None:
    for plugin in MODELS:
        recipes = recipes_of(plugin)
        assert bool(recipes) == ("axes" in plugin.facts)
        for recipe in recipes:
            members = path(plugin.name, recipe)
            assert members.at(1.0) == MODELS.resolve(plugin.name)
            small, large = members.at(0.3), members.at(3.0)
            assert MODELS.resolve(str(small)) == small
            counts = [count_parameters(each, members.activation, (3, 32, 32), 10) for each in (small, large)]
            assert counts[0] < counts[1]


def test_sizes_out_of_reach_give_the_end_of_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODELS, "_plugins", dict(MODELS._plugins))

    @MODELS.register("short", axes=(Axis("width", "width", least=2, most=5),))
    def short(input_shape: tuple[int, ...], num_classes: int, *, width: int = 3) -> nn.Module:  # noqa: ARG001
        """A layer of so many inputs."""
        return nn.Linear(width, num_classes, bias=False)

    assert path("short").nearest(1, DIGITS, 10).parameters == 20
    assert path("short").nearest(10**9, DIGITS, 10).parameters == 50
    assert path("short").nearest(40, DIGITS, 10).parameters == 40


@pytest.mark.parametrize("recipe", ["width", "depth", "compound", "compound:alpha=1.0001,beta=1"])
def test_multipliers_have_ends_too(recipe: str) -> None:
    """Below the smallest member and above the largest: that one, with its ratio."""
    members = path("efficientnet:stages=2", recipe)
    small = members.nearest(1, DIGITS, 10)
    assert small.parameters == count_parameters(members.at(1e-9), None, DIGITS, 10)
    assert small.ratio == small.parameters
    assert small.parameters < count_parameters(members.at(1.0), None, DIGITS, 10)
    assert members.at(1e-9) == members.at(1e-12)
    assert members.at(1e9) == members.at(1e12)


def test_large_members_are_counted_without_being_made() -> None:
    """ViT-B/16 at 224 pixels, found from ViT-S/16 by its size: 330 MB if they were numbers."""
    before = torch.get_rng_state()
    found = scale(
        "vit:patch=16,dim=384,depth=12,heads=6", parameters=86_567_656, shape="3x224x224", classes=1000
    ).members[0]
    assert found.model == "vit:patch=16,dim=768,depth=12,heads=6,mlp_ratio=4.0,dropout=0.0"
    assert found.parameters == 86_567_656
    assert torch.equal(before, torch.get_rng_state())


def test_the_record_says_where_it_came_from() -> None:
    found = emc.scale("mlp:depth=2", parameters=[1e3, 1e4], recipe="width", shape=(3, 4), classes=2)
    record = json.loads(found.to_json())
    assert record["family"] == "mlp:width=16,depth=2"
    assert (record["recipe"], record["exponents"]) == ("width", {"width": 1.0})
    assert (record["shape"], record["classes"]) == ([3, 4], 2)
    assert [each["asked"] for each in record["members"]] == [1000, 10000]
    assert record["members"][0]["ratio"] == record["members"][0]["parameters"] / 1000
    assert str(found).splitlines()[0] == f"{found.members[0].model}  {found.members[0].parameters:,} of 1,000"


def test_a_dataset_gives_shape_and_classes() -> None:
    found = scale("random_features", parameters="1e3", data="gaussian:dim=5,size=40")
    assert (found.shape, found.classes) == ((5,), 2)
    assert found.members[0].model == "random_features:dim=500,bandwidth=1.0"


@pytest.mark.parametrize(
    ("given", "sizes"), [("1e4", [10_000]), ("100:10000:3", [100, 1000, 10_000]), (7, [7]), ([3, 5.2], [3, 5])]
)
def test_sizes_are_read(given: Any, sizes: list[int]) -> None:
    assert read_sizes(given) == sizes


@pytest.mark.parametrize(
    "given", ["", "x", "1:2", "1:2:1", "0:1:2", "1:inf:2", "1:2:3:4", "1e3:1e4:1e9", [], [0.5], 1.1e12, None]
)
def test_what_is_no_size_is_one_sentence(given: Any) -> None:
    with pytest.raises(
        SpecError, match=r"parameters are numbers from 1 to 1e\+12, or first:last:count of at most 10,000"
    ):
        read_sizes(given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"family": "linear"}, "a recipe scales options of a family, got linear, which has none; name another"),
        (
            {"family": "mlp", "recipe": "svit"},
            "recipe svit scales the mlp of a family, got mlp, which has none; its recipes are compound, depth, width",
        ),
        ({"family": "mlp", "shape": "3x"}, 'a shape needs a number of classes, got shape "3x" alone; add classes'),
        ({"family": "mlp", "shape": "3x", "classes": 2}, 'a shape is whole numbers of at least 1, got "3x"'),
        ({"family": "mlp", "shape": "3", "classes": 1}, "classes must be at least 2, got 1"),
        ({"family": "mlp", "shape": "3", "data": "digits"}, "a dataset has its own shape, got data digits and shape 3"),
        ({"family": "cnn", "shape": "3", "classes": 2}, "cnn needs images"),
        ({"family": "vit:patch=3"}, "vit needs a patch that divides 8x8 images, got patch=3"),
    ],
)
def test_what_cannot_be_is_one_sentence(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        scale(**{"parameters": 1000} | settings)


def test_unknown_recipes_name_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match='there is no recipe "widht"; did you mean "width"'):
        scale("mlp", parameters=1000, recipe="widht")
    assert RECIPES.names() == ["compound", "depth", "resnet_rs", "sovit", "svit", "width"]


def test_a_family_of_a_users_that_needs_numbers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODELS, "_plugins", dict(MODELS._plugins))

    @MODELS.register("greedy", axes=(Axis("width", "width"),))
    def greedy(input_shape: tuple[int, ...], num_classes: int, *, width: int = 2) -> nn.Module:
        """One that looks at its weights."""
        layer = nn.Linear(input_shape[0] * width, num_classes)
        assert layer.weight.sum().item() < 1e9
        return layer

    with pytest.raises(SpecError, match="must be countable on PyTorch's meta device, got greedy:width=2: "):
        scale("greedy", parameters=100)
