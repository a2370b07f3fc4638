from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from studied import CPU, PAPERS, arrows, drawn, hollow, made, marks, places, spread, study_of, taken_of

from emc.results import Status
from figures import style
from figures.__main__ import STUDIES
from figures.drawing import emc_values
from figures.scales import SCALES

EMC_PICTURES = tuple(name for name in PAPERS if name != "generalisation")
ROWS = ("optimizers", "regularisers", "reparameterisation")


def parameters_of(place):
    return 200 + 50 * (place % 5)


def undertrained(place, cell):
    return made(cell, spread(60 + 10 * place), Status.UNDERTRAINED, parameters=parameters_of(place))


def every_other(place, cell):
    return None if place % 2 else made(cell, spread(60 + 10 * place), parameters=parameters_of(place))


def mixed(place, cell):
    kind = (Status.BRACKETED, Status.UNDERTRAINED, Status.CENSORED_ABOVE)[place % 3]
    return made(cell, spread(60 + 10 * place), kind, parameters=parameters_of(place), tested=0.3 + 0.01 * place)


def nothing_fitted(place, cell):
    return made(cell, [0] * 10, Status.CENSORED_BELOW, parameters=parameters_of(place))


def heights(name, figure, count):
    """What the first panels' marks show as EMC."""
    at = 0 if name in ROWS else 1
    panels = figure.axes[:1] if name in (*ROWS, "classes", "activations") else figure.axes[:count]
    return sorted(place[at] for place in places(marks(panels)))


PANELS = {"datasets": 2, "labels": 5, "architectures": 4, "scaling": 2}


@pytest.mark.parametrize("name", EMC_PICTURES)
def test_the_picture_has_a_mark_for_each_row_where_the_table_has_it(name):
    study, taken = study_of(name), taken_of(name)
    table = study.table(taken)
    assert len(table) == len(taken.results)
    assert not taken.missing
    assert heights(name, drawn(study, table), PANELS.get(name, 1)) == sorted(table["emc"].astype(float))


@pytest.mark.parametrize("name", EMC_PICTURES)
def test_lower_bounds_have_arrows_and_undertrained_ones_are_hollow(name):
    study = study_of(name)
    table = study.table(taken_of(name, mixed))
    figure = drawn(study, table)
    panels = figure.axes[: PANELS.get(name, 1)]
    assert 0 < table["censored"].sum() < len(table)
    assert len(arrows(panels)) == table["censored"].sum()
    assert len(hollow(marks(panels))) == (table["status"] == "undertrained").sum()
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert {"lower bound", "undertrained"} <= set(texts)


@pytest.mark.parametrize("make", [None, undertrained, every_other, mixed, nothing_fitted])
@pytest.mark.parametrize("name", PAPERS)
def test_no_axis_is_empty_whatever_is_measured(name, make):
    study = study_of(name)
    table = study.table(taken_of(name, make))
    if name == "generalisation" and make in (None, undertrained, nothing_fitted, every_other):
        assert table.empty  # no test accuracy, or no pair
        return
    with style.applied():
        figure = drawn(study, table)
        figure.canvas.draw()
    shown = [axes for axes in figure.axes if axes.axison]
    assert shown
    for axes in shown:
        assert marks([axes])
        assert axes.get_xlabel() or axes.get_ylabel() or axes.get_shared_y_axes().get_siblings(axes)


@pytest.mark.parametrize("name", PAPERS)
def test_a_journal_with_nothing_gives_an_empty_table_with_its_columns(name):
    study = study_of(name)
    table = study.table(taken_of(name, lambda *_: None))
    assert table.empty
    assert ("rise_percent" if name == "generalisation" else "emc") in table


@pytest.mark.parametrize("name", PAPERS)
def test_a_single_cell_is_drawn(name):
    study = study_of(name)
    table = study.table(taken_of(name, lambda place, cell: None if place else made(cell, spread(60))))
    if name == "generalisation":
        assert table.empty
        return
    assert len(marks(drawn(study, table).axes)) >= 1


@pytest.mark.parametrize("scale", ["smoke", "gpu", "paper"])
@pytest.mark.parametrize("name", PAPERS)
def test_every_scale_can_be_drawn(name, scale):
    study = study_of(name)
    with style.applied():
        figure = drawn(study, study.table(taken_of(name, mixed, SCALES[scale])))
        figure.canvas.draw()
    assert marks(figure.axes)


@pytest.mark.parametrize("name", ["labels", "architectures", "scaling", "datasets", "activations"])
def test_the_line_of_one_sample_a_parameter_is_in_every_panel_of_emc_against_parameters(name):
    study = study_of(name)
    figure = drawn(study, study.table(taken_of(name)))
    for axes in figure.axes[: PANELS.get(name, 1)]:
        (line,) = [line for line in axes.lines if line.get_label() == "_" + style.ONE_A_PARAMETER]
        np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert bottom < math.sqrt(left * right) < top


@pytest.mark.parametrize("name", EMC_PICTURES)
def test_every_interval_lies_inside_the_axes(name):
    study = study_of(name)
    table = study.table(taken_of(name))
    axes = drawn(study, table).axes[0]
    low, high = axes.get_xlim() if name in ROWS else axes.get_ylim()
    assert low < min(emc_values(table)) <= max(emc_values(table)) < high


def test_labels_are_held_against_semantic_ones_on_natural_inputs():
    def twice(_, cell):
        semantic = cell.get("labels", "semantic") == "semantic" and cell.get("inputs", "natural") == "natural"
        return made(cell, [n * (1 if semantic else 2) for n in spread(100)])

    table = study_of("labels").table(taken_of("labels", twice))
    semantic = table["series"] == "semantic labels"
    assert set(table["series"]) == set(style.REGIMES.values())
    assert table.loc[semantic, "ratio"].isna().all()
    assert table.loc[~semantic, "ratio"].tolist() == pytest.approx([2.0] * (~semantic).sum())
    assert set(table.loc[~semantic, "reference"]) == {"semantic labels"}


def test_labels_on_two_pools_are_each_held_against_their_own():
    """The same model is measured on both; digits fit ten times as many, and neither is the other's reference."""

    def apart(_, cell):
        semantic = cell.get("labels", "semantic") == "semantic" and cell.get("inputs", "natural") == "natural"
        times = (1 if semantic else 2) * (10 if cell["data"] == "digits" else 1)
        return made(cell, [n * times for n in spread(100)], parameters=parameters_of(len(str(cell["model"]))))

    study, taken = study_of("labels"), taken_of("labels", apart)
    table = study.table(taken)
    assert table["data"].tolist() == [cell["data"] for cell, _ in taken.results]
    assert table.loc[table["series"] != "semantic labels", "ratio"].tolist() == pytest.approx(
        [2.0] * (table["series"] != "semantic labels").sum()
    )
    titles = [axes.get_title() for axes in drawn(study, table).axes[:5]]
    assert titles == [
        "MLP\nsynthetic images", "MLP\ndigits", "CNN\nsynthetic images", "CNN\ndigits", "linear\nsynthetic images",
    ]  # fmt: skip


def test_classes_are_held_against_the_fewest():
    table = study_of("classes").table(
        taken_of("classes", lambda _, cell: made(cell, [n * cell["classes"] for n in spread(100)]))
    )
    told = table[table["ratio"].notna()]
    assert told["ratio"].tolist() == pytest.approx((told["classes"] / 2).tolist())
    assert set(table.loc[table["ratio"].isna(), "classes"]) == {2}


def test_depths_are_held_against_the_shallowest_of_their_size():
    from figures.scaling import MEMBERS, depth

    table = study_of("scaling").table(
        taken_of("scaling", lambda _, cell: made(cell, [n * depth(cell["model"]) for n in spread(100)]))
    )
    assert set(table["size"]) == {member for member in MEMBERS["cpu"] if depth(member) == 1}
    deep = table[table["ratio"].notna()]
    assert deep["ratio"].tolist() == pytest.approx([depth(model) for model in deep["model"]])
    assert set(table["series"]) == {"MLP, depth 1", "MLP, depth 2", "MLP, depth 3"}


def test_rows_name_what_they_change_and_their_reference_has_no_ratio():
    optimizers = study_of("optimizers").table(taken_of("optimizers"))
    assert optimizers["text"].tolist()[:2] == ["SGD, batches of 32", "GD, full batch"]
    assert optimizers["ratio"].isna().tolist() == [True] + [False] * (len(optimizers) - 1)
    regularisers = study_of("regularisers").table(taken_of("regularisers"))
    assert regularisers["text"].tolist() == [
        "none", "weight decay 0.01", "weight decay 0.1", "label smoothing 0.1", "SAM", "dropout 0.1",
    ]  # fmt: skip
    assert regularisers["ratio"].isna().tolist() == [True] + [False] * 5


def test_samples_a_parameter_and_bits_a_bit_are_in_proportion_to_the_emc():
    study = study_of("reparameterisation")
    table = study.table(taken_of("reparameterisation"))
    assert (table["per_parameter"] * table["emc"]).tolist() == pytest.approx(table["emc_per_parameter"].tolist())
    assert (table["per_bit"] * table["emc"]).tolist() == pytest.approx(table["bits_per_bit"].tolist())
    second = [x for x, _ in places(marks(drawn(study, table).axes[1:2]))]
    assert second == pytest.approx(table["emc_per_parameter"].tolist())


def test_generalisation_pairs_semantic_with_random_labels_and_correlates_what_is_known():
    def falling(place, cell):
        semantic = cell.get("labels", "semantic") == "semantic"
        rise = 10 * (place // 2)
        rise *= 1 if cell["data"] == "digits" else -0.2  # falls with the gap on one pool, rises on the other
        return made(cell, [int(n + (rise if semantic else 0)) for n in spread(100)], tested=0.2 + 0.02 * (place // 2))

    study = study_of("generalisation")
    table = study.table(taken_of("generalisation", falling))
    assert table["gap"].tolist() == pytest.approx((1 - table["test_accuracy"]).tolist())
    assert table["rise_percent"].tolist() == pytest.approx((100 * (table["emc_semantic"] / 100 - 1)).tolist())
    pairs = {
        (cell["data"], cell["model"])
        for cell, _ in taken_of("generalisation").results
        if not {"inputs", "classes"} & cell.keys()  # merged classes have another gap of chance
    }
    assert "linear" not in set(table["family"])
    assert set(zip(table["data"], table["model"], strict=True)) == pairs
    digits = table["data"] == "digits"
    assert set(table.loc[digits, "kendall"]) == {-1.0}
    assert set(table.loc[~digits, "kendall"]) == {1.0}
    figure = drawn(study, table)
    assert sorted(places(marks(figure.axes))) == sorted(zip(table["rise_percent"], table["gap"], strict=True))
    synthetic, digits = (axes.get_title() for axes in figure.axes)
    assert synthetic.startswith("synthetic images, 5 models with a known rise")
    assert "tau -1.00" in digits


def test_open_rises_have_arrows_and_are_not_correlated():
    study = study_of("generalisation")
    table = study.table(taken_of("generalisation", mixed))
    known = (~table["open"].astype(bool)).groupby(table["data"]).sum()
    assert table["points"].tolist() == known[table["data"]].tolist()
    figure = drawn(study, table)
    assert len(table) - known.sum() > 0
    assert not hollow(marks(figure.axes))
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "left open by lower bounds" in texts
    assert len(arrows(figure.axes)) == table["open_below"].sum() + table["open_above"].sum()


def test_datasets_have_equal_axes_and_a_colour_each():
    study = study_of("datasets")
    table = study.table(taken_of("datasets", mixed))
    figure = drawn(study, table)
    random, semantic = figure.axes[:2]
    assert (random.get_xlim(), random.get_ylim()) == (semantic.get_xlim(), semantic.get_ylim())
    assert len({line.get_markeredgecolor() for line in marks([random])}) == table["dataset"].nunique()
    tested = table[(table["labels"] == "semantic") & table["test_accuracy"].notna()]
    assert sorted(places(marks(figure.axes[2:]))) == sorted(zip(tested["emc"], tested["test_accuracy"], strict=True))


def test_datasets_have_colours_of_no_family_and_linear_models_are_black():
    from figures.datasets import COLOURS

    assert not set(COLOURS) & {look.colour for look in style.FAMILIES.values()}
    study = study_of("datasets")
    random = drawn(study, study.table(taken_of("datasets"))).axes[0]
    crosses = [mark for mark in marks([random]) if mark.get_marker() == "X"]
    assert len(crosses) == 4
    assert {mark.get_markerfacecolor() for mark in crosses} == {style.FAMILIES["linear"].colour}
    assert {mark.get_markeredgecolor() for mark in crosses} == set(COLOURS[:4])


def test_the_caption_of_datasets_tells_how_far_sizes_are_apart_and_what_was_fitted_whole():
    def nearest(_, cell):
        size = cell.get("match_parameters", 300)
        count = size + (size // 10 if cell["data"] == "digits" else 0)
        return made(cell, [3000] * 10 if cell["data"] == "wine" else spread(60), parameters=count)

    study = study_of("datasets")
    text = study.tells(study.table(taken_of("datasets", nearest)))
    assert "with random labels 140 to 154, 270 to 297, 540 to 594 (at most 10 % apart)" in text
    assert "6 of 24 EMCs of nets are those of a dataset fitted whole (wine 3,000 rows)" in text


@pytest.mark.parametrize("name", ["labels", "datasets", "activations"])
def test_no_mark_hides_another(name):
    study = study_of(name)
    figure = drawn(study, study.table(taken_of(name, lambda _, cell: made(cell, spread(100), parameters=300))))
    figure.canvas.draw()
    for axes in figure.axes[: PANELS.get(name, 1)]:
        pixels = sorted(axes.transData.transform(place)[0] for place in places(marks([axes])))
        apart = [(b - a) * 72 / figure.dpi for a, b in pairwise(pixels)]
        assert min(apart, default=99) > 4.5  # points, the size of a mark


def test_the_caption_of_classes_tells_the_parameters_and_the_line_is_drawn():
    study = study_of("classes")
    grown = taken_of("classes", lambda _, cell: made(cell, spread(60), parameters=100 + cell["classes"]))
    table = study.table(grown)
    assert "102 with 2 classes, 105 with 5 classes, 110 with 10 classes" in study.tells(table)
    axes = drawn(study, table).axes[0]
    (line,) = [line for line in axes.lines if line.get_color() == style.GREY]
    assert list(line.get_ydata()) == [102, 102, 105, 110, 110]
    assert axes.texts[0].get_text() == style.ONE_A_PARAMETER


def test_families_keep_their_colour_in_every_picture():
    for name in ("architectures", "labels"):
        figure = drawn(study_of(name), study_of(name).table(taken_of(name)))
        seen = {line.get_markeredgecolor() for line in marks(figure.axes)}
        known = {style.FAMILIES[key].colour for key in ("mlp", "cnn", "vit", "linear")}
        assert {style.FAMILIES["mlp"].colour, style.FAMILIES["cnn"].colour} <= seen <= known


def test_only_captions_of_pictures_with_such_marks_explain_them():
    explained = {name for name in STUDIES if style.MARKS in study_of(name).caption}
    assert explained == {*EMC_PICTURES, "budget", "power_laws"}


def test_settings_of_what_was_measured_are_told():
    from figures.study import settings_text

    text = settings_text(taken_of("activations"))
    assert "Data: digits (3,000 rows). Models: mlp:width=5; mlp:width=8. Labels: random. Replicates: 10." in text
    assert "adam, batches of up to 2,048 samples, budget of at least 25,000 steps a probe" in text
    both = settings_text(taken_of("labels"))
    assert "synthetic images (3,000 rows), digits (3,000 rows)" in both
    assert "random of 2 classes" in both
    assert "semantic on permuted inputs" in both
    assert "lbfgs, batches of up to 2,048 samples, budget of at least 2,000 steps" in both
    assert settings_text(taken_of("activations", lambda *_: None)) == ""
    assert CPU.base["replicates"] == 10
