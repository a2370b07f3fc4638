from __future__ import annotations

import pytest

from emc.pages.comparisons import comparisons
from emc.pages.curves import source as curve_source
from emc.pages.measurements import measurements
from emc.plotting import FAMILY_COLOURS, GREY

charts = pytest.importorskip("emc.pages.charts", exc_type=ImportError)


def names(spec):
    found = {spec["data"]["name"]} if "name" in spec.get("data", {}) else set()
    parts = [*spec.get("layer", ()), *spec.get("vconcat", ()), *([spec["spec"]] if "spec" in spec else [])]
    return found.union(*map(names, parts))


@pytest.mark.parametrize("kind", list(charts.CHARTS))
def test_a_chart_takes_all_its_data_from_the_page(kind, sized, make_curve):
    results = [sized(4, 40), sized(8, 80)]
    sources = measurements(results, {}).sources | comparisons(results).sources
    known = {
        "searches": sources["measurement0"],
        "accuracy": sources["measurement0"],
        "overview": sources["overview"],
        "ratios": sources["ratios"],
        "curve": curve_source(make_curve()),
    }[kind]
    spec = charts.specification(kind)
    assert names(spec) <= set(known.tables)
    assert set(known.ticks) <= {param["name"] for param in spec["params"]}


def test_ink_takes_the_colour_of_the_page():
    assert charts.specification("accuracy")["config"]["axis"]["labelColor"] == "currentColor"


def test_families_have_the_colours_of_all_pictures():
    spec = charts.specification("overview")
    scale = spec["layer"][2]["encoding"]["color"]["scale"]
    colours = dict(zip(scale["domain"], scale["range"], strict=False))
    assert (colours["mlp"], colours["cnn"]) == (FAMILY_COLOURS["mlp"], FAMILY_COLOURS["cnn"])
    assert colours["linear"] == "currentColor"
    assert scale["range"][len(colours)] == GREY
