"""Exponents of the recipes against their papers."""

from __future__ import annotations

import math

import pytest

from emc.errors import SpecError
from emc.models.axes import Axis, member
from emc.models.recipes import RECIPES
from emc.registry import PluginSpec

VIT = (Axis("dim", "width"), Axis("depth", "depth"), Axis("mlp_ratio", "mlp", times="dim"))


def test_compound_doubles_the_work_with_each_unit_of_phi() -> None:
    """EfficientNet's equation 3: alpha * beta^2 * gamma^2 is about 2, gamma being the data's here."""
    grows = RECIPES.build("compound")
    alpha, beta = (math.exp(grows[role]) for role in ("depth", "width"))
    assert (alpha, beta) == pytest.approx((1.2, 1.1))
    assert alpha * beta**2 * 1.15**2 == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(("published", "compute"), [((880, 18, 2320), 4.4), ((1152, 27, 4304), 11.5)])
def test_sovit_leads_from_its_start_to_its_published_shapes(published: tuple[int, int, int], compute: float) -> None:
    """SoViT-150m and -400m lie near one path from the paper's start, (608, 10, 928): within a seventh."""
    start = PluginSpec("vit", (("dim", 608), ("depth", 10), ("mlp_ratio", 928 / 608)))
    found = dict(member(start, VIT, RECIPES.build("sovit"), compute).options)
    dim, depth, ratio = (float(found[name]) for name in ("dim", "depth", "mlp_ratio"))  # type: ignore[arg-type]
    for one, other in zip((dim, depth, dim * ratio), published, strict=True):
        assert one / other == pytest.approx(1, abs=1 / 7)


def test_svit_keeps_every_ratio() -> None:
    assert len(set(RECIPES.build("svit").values())) == 1


@pytest.mark.parametrize("text", ["compound:alpha=1,beta=1", "compound:alpha=0.9", "compound:beta=inf"])
def test_compound_grows(text: str) -> None:
    with pytest.raises(SpecError, match="recipe compound needs alpha and beta of at least 1, one above, got"):
        RECIPES.build(text)
