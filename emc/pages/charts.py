"""The page's charts as Vega-Lite specifications, one a kind; their data come from the page. Needs altair.

Colours are those of `emc.plotting`, which colour-blind readers tell apart, shapes differ too, and all that is ink takes
the page's colour, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import altair as alt

from emc.pages.comparisons import VERDICTS
from emc.pages.searches import outcome_text
from emc.plotting import FAMILY_COLOURS, GREY, OKABE_ITO, Outcome

BLUE, VERMILLION, GREEN = (OKABE_ITO[name] for name in ("blue", "vermillion", "green"))

#: Black is the page's ink, which is white in the dark.
FAMILIES = {name: "currentColor" if colour == OKABE_ITO["black"] else colour for name, colour in FAMILY_COLOURS.items()}

#: How an outcome looks: its colour, fill and shape.
_LOOKS = {
    Outcome.FITTED: (BLUE, BLUE, "circle"),
    Outcome.NOT_FITTED: (VERMILLION, VERMILLION, "triangle-down"),
    Outcome.UNDERTRAINED: (VERMILLION, "transparent", "triangle-down"),
    Outcome.NO_EVIDENCE: ("#8A8A8A", "transparent", "cross"),
}

#: The page's letters, by which the charts make room for their texts.
FONT = 'system-ui, "Segoe UI", "DejaVu Sans", sans-serif'

_SIZES = alt.Scale(type="log", nice=False, padding=12)


def _sizes_axis(name: str) -> alt.Axis:
    """An axis with the ticks that the numbers behind the picture bring along by this name."""
    return alt.Axis(format=",.0f", values=alt.ExprRef(expr=f"ticks_{name}"), grid=False)


def searches() -> alt.FacetChart:
    """Each replicate's sizes in the order they were tried, with the bracket after each."""
    order = alt.X("step:Q", title="probe", axis=alt.Axis(format="d", tickMinStep=1, grid=False))
    base = alt.Chart().encode(x=order)
    size = alt.Y("lower:Q", scale=_SIZES, title="samples n", axis=_sizes_axis("n"))
    ends = base.transform_filter("isValid(datum.lower) && isValid(datum.upper)")
    band = ends.mark_area(color=GREEN, opacity=0.22, interpolate="step-after").encode(y=size, y2="upper:Q")
    lower = base.mark_line(color=GREEN, interpolate="step-after", strokeWidth=1.2).encode(y=size)
    upper = base.mark_line(color=GREEN, interpolate="step-after", strokeWidth=1.2, strokeDash=[3, 2])
    layers = alt.layer(
        band, lower, upper.encode(y="upper:Q"), _points(base, alt.Y("n:Q", scale=_SIZES)), width=150, height=120
    )
    header = alt.Header(labelExpr="'replicate ' + datum.value", title=None)
    return layers.facet(facet=alt.Facet("replicate:N", header=header, sort=None), columns=5, data=_named("probes"))


def accuracy() -> alt.LayerChart | alt.FacetChart:
    """Training accuracy of every probe against n, the EMC and its interval."""
    x = alt.X("n:Q", scale=_SIZES, title="samples n", axis=_sizes_axis("n"))
    y = alt.Y("accuracy:Q", scale=alt.Scale(zero=False), title="training accuracy", axis=alt.Axis(format=".4~f"))
    probes = alt.Chart(_named("probes")).encode(x=x).transform_filter("isValid(datum.accuracy)")
    return alt.layer(*_emc_marks(), _points(probes, y), width=620, height=240)


def overview() -> alt.LayerChart | alt.FacetChart:
    """EMC against parameters: bars are intervals, upward arrows lower bounds, the line is one sample a parameter."""
    x = alt.X("parameters:Q", scale=_SIZES, title="trained parameters", axis=_sizes_axis("parameters"))
    base = alt.Chart(_named("measurements")).encode(x=x)
    y = alt.Y("emc:Q", scale=_SIZES, title="EMC (samples)", axis=_sizes_axis("emc"))
    # Families that are not in the domain are appended to it, and so come to the grey ones.
    palette = alt.Scale(domain=list(FAMILIES), range=[*FAMILIES.values(), *[GREY] * 99])
    legend = alt.Legend(values=alt.ExprRef(expr="ticks_families"))
    family = alt.Color("family:N", title="model", scale=palette, legend=legend)
    bars = alt.Chart(_named("intervals")).mark_rule(strokeWidth=1.2)
    bars = bars.encode(x=x, y=alt.Y("low:Q", scale=_SIZES), y2="high:Q", color=family)
    kinds = alt.Scale(domain=["measured", "lower bound"], range=["circle", "triangle-up"])
    points = base.mark_point(size=60, strokeWidth=1.5, opacity=1).encode(
        y=y,
        color=family,
        shape=alt.Shape("kind:N", title="EMC", scale=kinds),
        tooltip=_told("settings", "emc", "parameters", "fingerprint"),
    )
    line = (
        alt.Chart(_named("line"))
        .mark_line(color="currentColor", strokeDash=[5, 4], strokeWidth=1)
        .encode(x=alt.X("parameters:Q", scale=_SIZES), y=alt.Y("emc:Q", scale=_SIZES))
    )
    return alt.layer(line, bars, points, width=620, height=340)


def curve() -> alt.VConcatChart:
    """P(fit) with its fitted curve and Cover's theorem, and mean training accuracy, against n."""
    x = alt.X("n:Q", scale=_SIZES, title="samples n", axis=_sizes_axis("n"))
    whole = alt.Scale(domain=[0, 1])
    share, low = (alt.Y(f"{name}:Q", title="P(fit)", scale=whole) for name in ("share", "low"))
    cover = alt.Chart(_named("cover")).mark_line(color="currentColor", strokeDash=[5, 4], strokeWidth=1.2)
    region = alt.Chart(_named("region")).mark_area(color="currentColor", opacity=0.12)
    fitted = alt.Chart(_named("fitted"))
    layers = (
        region.encode(x=x, y=low, y2="high:Q"),
        cover.encode(x=x, y=share),
        alt.Chart(_named("band")).mark_area(color=BLUE, opacity=0.18).encode(x=x, y=low, y2="high:Q"),
        fitted.mark_line(color=BLUE, strokeWidth=1.4).encode(x=x, y=share),
        *_emc_marks(),
        *_dots("shares", x, "P(fit)", whole),
    )
    means = _dots("accuracies", x, "mean training accuracy", alt.Scale(zero=False))
    upper = alt.layer(*layers, width=620, height=260)
    return alt.vconcat(upper, alt.layer(*means, width=620, height=150))


def ratios() -> alt.LayerChart:
    """Ratio of EMCs of each comparison with its interval; arrows at the picture's edge are open ends."""
    names = alt.Axis(grid=True, labelExpr="ticks_labels[datum.value - 1]", labelLimit=340)
    place = alt.Y("number:O", title=None, axis=names)
    scale = alt.Scale(type="log", nice=False, padding=12)
    title = "ratio of EMCs, first over second"
    low = alt.X("low:Q", scale=scale, title=title)
    inside: dict[str, Any] = {"scale": scale, "axis": None}
    base = alt.Chart(_named("ratios")).encode(y=place)
    told = list(VERDICTS.values())
    colours = alt.Scale(domain=told, range=[BLUE, VERMILLION, GREY, OKABE_ITO["purple"]])
    colour = alt.Color("verdict:N", title="after Holm's correction", scale=colours)
    interval = base.mark_rule(strokeWidth=1.4).encode(x=low, x2="high:Q", color=colour)
    marks: dict[str, Any] = {"size": 55, "opacity": 1, "filled": True}
    tooltip = _told("setting", "first", "second", "verdict")
    point = base.mark_point(**marks).transform_filter("isValid(datum.ratio)")
    arrows = [
        base.mark_point(shape=f"triangle-{way}", **marks)
        .transform_filter(f"datum.{open_}")
        .encode(x=alt.X(f"{end}:Q", **inside), color=colour)
        for way, open_, end in (("left", "below", "low"), ("right", "above", "high"))
    ]
    one = alt.Chart(_named("one")).mark_rule(color="currentColor", strokeDash=[5, 4])
    above = one.encode(x=alt.X("low:Q", scale=scale, title=title, axis=alt.Axis(orient="top", grid=False)))
    layers = (above, interval, *arrows, point.encode(x=alt.X("ratio:Q", **inside), color=colour, tooltip=tooltip))
    chart: alt.LayerChart = alt.layer(*layers, width=620, height=alt.Step(16)).resolve_axis(x="independent")
    return chart


def _emc_marks() -> tuple[alt.Chart, ...]:
    """The EMC as a line, dashed where it is a lower bound, and its interval as a band."""
    base = alt.Chart(_named("emc"))
    dash = alt.StrokeDash(
        "kind:N", title="EMC", scale=alt.Scale(domain=["measured", "lower bound"], range=[[1, 0], [5, 4]])
    )
    return (
        alt.Chart(_named("interval"))
        .mark_rect(color=GREEN, opacity=0.18)
        .encode(x=alt.X("low:Q", scale=_SIZES), x2="high:Q"),
        base.mark_rule(color=GREEN, strokeWidth=1.6).encode(x=alt.X("emc:Q", scale=_SIZES), strokeDash=dash),
    )


def _points(chart: alt.Chart, y: alt.Y) -> Any:
    """Probes by outcome."""
    names = [outcome_text(outcome) for outcome in _LOOKS]
    scales = [alt.Scale(domain=names, range=list(looks)) for looks in zip(*_LOOKS.values(), strict=True)]
    title = "probe"
    return chart.mark_point(size=42, strokeWidth=1.3, opacity=1).encode(
        y=y,
        stroke=alt.Stroke("outcome:N", title=title, scale=scales[0]),
        fill=alt.Fill("outcome:N", title=title, scale=scales[1]),
        shape=alt.Shape("outcome:N", title=title, scale=scales[2]),
        tooltip=_told("n", "replicate", "attempt", "outcome", "accuracy", "steps", "evidence"),
    )


def _dots(table: str, x: alt.X, title: str, scale: alt.Scale) -> tuple[alt.Chart, ...]:
    """Shares with their intervals, hollow where a failure behind them is undertrained."""
    base = alt.Chart(_named(table)).encode(x=x)
    low, y = (alt.Y(f"{name}:Q", title=title, scale=scale) for name in ("low", "share"))
    weak = ["all failures trained to their end", "some failures undertrained"]
    fill = alt.Fill("failures:N", title="draws", scale=alt.Scale(domain=weak, range=[VERMILLION, "transparent"]))
    return (
        base.mark_rule(color=VERMILLION, strokeWidth=1.2).encode(y=low, y2="high:Q"),
        base.mark_point(size=45, stroke=VERMILLION, opacity=1).encode(
            y=y, fill=fill, tooltip=_told("n", "share", "low", "high")
        ),
    )


def _named(table: str) -> alt.NamedData:
    return alt.NamedData(name=table)


def _told(*names: str) -> Sequence[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:{'Q' if name in _NUMBERS else 'N'}", title=name) for name in names]


_NUMBERS = {"n", "accuracy", "steps", "emc", "parameters", "share", "low", "high"}

CHARTS: dict[str, Callable[[], Any]] = {
    "searches": searches,
    "accuracy": accuracy,
    "overview": overview,
    "curve": curve,
    "ratios": ratios,
}


@cache
def specification(kind: str) -> dict[str, Any]:
    """The Vega-Lite specification of one kind of chart."""
    chart = CHARTS[kind]().configure(background="transparent", font=FONT)
    ink = "currentColor"
    chart = chart.configure_axis(
        labelColor=ink,
        titleColor=ink,
        domainColor=ink,
        tickColor=ink,
        gridColor=ink,
        gridOpacity=0.12,
        titleFontWeight="normal",
    )
    chart = chart.configure_legend(labelColor=ink, titleColor=ink, labelLimit=240, titleFontWeight="normal")
    chart = chart.configure_header(labelColor=ink, titleColor=ink).configure_view(stroke=None)
    found: dict[str, Any] = chart.to_dict()
    names = ("n", "parameters", "emc", "families", "labels")
    return {**found, "params": [{"name": f"ticks_{name}", "value": []} for name in names]}
