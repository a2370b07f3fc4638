from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from simulated import cell

import emc
from emc.claiming import Claims, Finding, Judged, Weighed, _reason, detail_rows, weigh_claims
from emc.errors import JournalError, SpecError, UnknownNameError
from emc.hypotheses import CLAIMS
from emc.results import EmcResult, Status
from emc.stats.compare import Bounds, holm

SUPPORTED, CONTRADICTED, UNDECIDED = Finding.SUPPORTED, Finding.CONTRADICTED, Finding.UNDECIDED

#: Ten replicates that vary, and a way to scale them.
BASE = (100, 108, 93, 117, 88, 101, 96, 112, 105, 91)

#: What the dataset of most cells is.
FACTS = cell(BASE).dataset


def times(factor: float) -> list[int]:
    """EMCs that are so many times the base, with some noise of their own."""
    return [round(factor * n * (1 + 0.02 * math.sin(7 * i * factor))) for i, n in enumerate(BASE)]


def one(name: str, *results: EmcResult) -> Judged:
    return weigh_claims(results)[name]


# Known answers.


def test_ten_pairs_of_one_sign_by_hand() -> None:
    found = one("random_below_semantic", cell(BASE, labels="random"), cell([2 * n for n in BASE], labels="semantic"))
    part = found.deciding
    assert found.finding is SUPPORTED
    assert part.honest is not None
    assert part.honest.effect.value == pytest.approx(0.5)
    assert part.honest.support.value == part.smallest_p == 2 / 1024
    assert part.honest.against.value == 1
    assert (len(part.strata), part.replicates) == (1, 10)
    # Of the bracket's width: the larger may be one less, or one more.
    assert part.honest.interval[0] < 0.5 < part.honest.interval[1]


def test_holm_by_hand_over_the_claims_that_have_cells() -> None:
    results = [
        cell(BASE, labels="random", data="digits"),
        cell(times(2), labels="semantic", data="digits"),
        cell(times(1), labels="random", data="digits", inputs="gaussian"),
        cell([50, 55], labels="random", data="digits", model="linear", parameters=500),
    ]
    found = weigh_claims(results)
    tested = {each.name: each.honest for each in found.claims if each.honest is not None}
    raw = {name: honest.p_value.high for name, honest in tested.items()}
    assert list(raw) == ["nets_below_linear", "noise_raises", "random_below_parameters", "random_below_semantic"]
    assert raw["random_below_parameters"] == raw["random_below_semantic"] == 2 / 1024
    assert min(raw["nets_below_linear"], raw["noise_raises"]) > 0.1
    assert found.num_tested == 4
    adjusted = {name: honest.p_adjusted.high for name, honest in tested.items()}
    assert adjusted["random_below_parameters"] == adjusted["random_below_semantic"] == 4 * 2 / 1024
    assert list(adjusted.values()) == holm(list(raw.values()))


def test_replicates_average_over_strata_and_datasets_add_blocks() -> None:
    small = [cell(times(f), labels=labels, model="mlp:width=4") for f, labels in ((1, "random"), (2, "semantic"))]
    large = [cell(times(f), labels=labels, model="mlp:width=8") for f, labels in ((1, "random"), (2, "semantic"))]
    other = [cell(times(f), labels=labels, data="wine") for f, labels in ((1, "random"), (2, "semantic"))]
    part = one("random_below_semantic", *small, *large).deciding
    assert (len(part.strata), part.replicates) == (2, 10)
    part = one("random_below_semantic", *small, *large, *other).deciding
    assert (len(part.strata), part.replicates) == (3, 20)
    assert sorted(stratum.name for stratum in one("random_below_semantic", *small, *large).deciding.strata) == [
        "model.width 4",
        "model.width 8",
    ]


# Every claim: supported where it is so, contradicted where it is the other way round.

Cells = list[EmcResult]


def _pair(first: dict[str, Any], second: dict[str, Any], factor: float, **shared: Any) -> Cells:
    return [cell(times(factor), **{**shared, **first}), cell(BASE, **{**shared, **second})]


def _widths(exponent: float, **shared: Any) -> Cells:
    return [
        cell(times((p / 500) ** exponent), parameters=p, model=f"mlp:width={p // 100}", **shared)
        for p in (500, 1000, 2000)
    ]


def _classes(exponent: float, labels: str) -> Cells:
    return [cell(times((k / 2) ** exponent), labels=labels, classes=k) for k in (2, 4, 8)]


def _families(labels: str, mlp: float, vit: float) -> Cells:
    models = {"cnn": 1.0, "mlp": mlp, "vit": vit}
    return [cell(times(factor), model=model, labels=labels) for model, factor in models.items()]


def _permuted(cnn: float, mlp: float) -> Cells:
    return [
        cell(times(factor), model=model, inputs=inputs)
        for model, ratio in (("cnn", cnn), ("mlp", mlp))
        for inputs, factor in (("permuted", ratio), ("natural", 1.0))
    ]


def _noise(cnn: float, mlp: float) -> Cells:
    return [
        cell(times(factor), model=model, inputs=inputs)
        for model, ratio in (("cnn", cnn), ("mlp", mlp))
        for inputs, factor in (("natural", ratio), ("gaussian", 1.0))
    ]


def _activations(relu: float, tanh: float) -> Cells:
    named = {"relu": relu, "tanh": tanh, "identity": 1.0}
    return [cell(times(factor), activation=activation) for activation, factor in named.items()]


def _cloud(sign: int) -> Cells:
    """Ten models whose semantic EMC rises above the random one, with a gap that goes along by `sign`."""
    found = []
    for k in range(10):
        accuracy = 0.5 + 0.04 * k if sign < 0 else 0.9 - 0.04 * k
        found.append(cell(times(2 + k), model=f"mlp:width={k + 2}", accuracy=accuracy, test_split=0.2))
        found.append(cell(BASE, model=f"mlp:width={k + 2}", labels="random", test_split=0.2))
    return found


def _datasets(sign: int) -> Cells:
    names = ("digits", "wine", "breast_cancer", "adult", "credit", "covertype", "mnist", "cifar10")
    return [
        cell(times(1 + k), data=name, accuracy=0.5 + sign * 0.05 * k, test_split=0.2) for k, name in enumerate(names)
    ]


def _minima(factor: float) -> Cells:
    rng = np.random.default_rng(1)
    flat = np.exp(rng.normal(0, 0.2, (3, 10))) * np.array([[1.0], [factor], [factor**2]])
    named = ("sgd:lr=0.1", "adam", "lbfgs")
    return [cell(BASE, optimizer=name, flatness=list(row)) for name, row in zip(named, flat, strict=True)]


SGD, GD = {"optimizer": "sgd:lr=0.1", "batch_size": 32}, {"optimizer": "gd:lr=0.1"}
SUBSPACE, PRECISION = {"reparam": "subspace:dim=100"}, {"reparam": "precision:bits=int8"}
TABLE, IMAGE = {"data": "wine"}, {"data": "digits"}
DEEP, WIDE = {"model": "mlp:width=8,depth=3"}, {"model": "mlp:width=16,depth=1"}
RANDOM, SEMANTIC = {"labels": "random"}, {"labels": "semantic"}
NOISE, NATURAL = {"inputs": "gaussian"}, {"inputs": "natural"}
LINEAR, MLP = {"model": "linear"}, {"model": "mlp"}

TRUE_AND_OPPOSITE: dict[str, tuple[Cells, Cells]] = {
    "tabular_above_image": (_pair(TABLE, IMAGE, 2), _pair(TABLE, IMAGE, 0.5)),
    "mnist_first_imagenet_last": (
        [cell(times(f), data=d) for d, f in (("mnist", 4), ("cifar10", 2), ("imagenet", 1))],
        [cell(times(f), data=d) for d, f in (("mnist", 2), ("cifar10", 4), ("imagenet", 1))],
    ),
    "accuracy_with_emc": (_datasets(1), _datasets(-1)),
    "linear_in_parameters": (_widths(1.0), _widths(2.0)),
    "random_below_semantic": (_pair(RANDOM, SEMANTIC, 0.5), _pair(RANDOM, SEMANTIC, 2)),
    "random_below_parameters": ([cell(BASE, **RANDOM)], [cell(BASE, parameters=10, **RANDOM)]),
    "nets_below_linear": (_pair(MLP, LINEAR, 0.5, **RANDOM), _pair(MLP, LINEAR, 2, **RANDOM)),
    "permuting_hurts_cnn": (_permuted(0.5, 1.0), _permuted(1.5, 1.0)),
    "noise_raises": (_pair(NOISE, NATURAL, 1.5, **RANDOM), _pair(NOISE, NATURAL, 0.7, **RANDOM)),
    "semantic_against_noise": (_noise(2, 0.5), _noise(2, 2)),
    "classes_lower_semantic": (_classes(-0.5, "semantic"), _classes(0.5, "semantic")),
    "classes_raise_random": (_classes(0.5, "random"), _classes(-0.5, "random")),
    "gap_against_rise": (_cloud(-1), _cloud(1)),
    "cnn_first_semantic": (_families("semantic", 0.5, 0.6), _families("semantic", 0.5, 1.5)),
    "cnn_first_random": (_families("random", 0.5, 0.6), _families("random", 2, 1.5)),
    "depth_above_width": (_pair(DEEP, WIDE, 1.5), _pair(DEEP, WIDE, 0.7)),
    "relu_far_above": (_activations(2.0, 1.0), _activations(1.1, 1.0)),
    "tanh_barely_helps": (_activations(1.0, 1.1), _activations(1.0, 1.6)),
    "sgd_above_gd": (_pair(SGD, GD, 1.5), _pair(SGD, GD, 0.7)),
    "subspace_raises_per_parameter": (
        _pair({**SUBSPACE, "parameters": 100}, {"parameters": 1000}, 0.5),
        _pair({**SUBSPACE, "parameters": 900}, {"parameters": 1000}, 0.5),
    ),
    "precision_raises_per_bit": (
        _pair({**PRECISION, "parameters": 250}, {"parameters": 1000}, 0.9),
        _pair({**PRECISION, "parameters": 250}, {"parameters": 1000}, 0.1),
    ),
}


@pytest.mark.parametrize("name", TRUE_AND_OPPOSITE)
def test_a_claim_is_supported_where_it_is_so_and_contradicted_where_it_is_not(name: str) -> None:
    so, opposite = TRUE_AND_OPPOSITE[name]
    for results, finding in ((so, SUPPORTED), (opposite, CONTRADICTED)):
        found = one(name, *results)
        assert found.finding is finding, found.sentence()
        assert found.honest is not None
        assert found.budget is not None
        assert found.honest.p_adjusted == found.budget.p_adjusted  # nothing is censored
        assert found.sentence().startswith(f"{finding.value}: {found.statement}")


def test_every_claim_of_the_paper_is_in_that_table() -> None:
    stated = {plugin.name for plugin in CLAIMS if not plugin.factory().question}
    assert stated == {*TRUE_AND_OPPOSITE, "minima_differ"}
    assert all(plugin.summary.endswith(".") and len(plugin.summary) < 120 for plugin in CLAIMS)


def test_minima_that_differ_are_supported_and_equal_ones_never_contradict() -> None:
    apart, alike = one("minima_differ", *_minima(3.0)), one("minima_differ", *_minima(1.0))
    assert apart.finding is SUPPORTED
    assert apart.deciding.honest is not None
    assert apart.deciding.honest.effect.low == pytest.approx(9, rel=0.2)
    assert "lbfgs" in apart.deciding.notes[0]
    assert alike.finding is UNDECIDED


def test_minima_of_one_optimizer_at_two_rates_are_no_optimizers() -> None:
    rates = [cell(BASE, optimizer=f"adam:lr={lr}", flatness=[k * n for n in BASE]) for k, lr in ((1, 0.1), (9, 0.01))]
    assert one("minima_differ", *rates).honest is None
    budgets = [cell(BASE, optimizer="sgd", min_steps=steps, flatness=list(BASE)) for steps in (10, 20)]
    assert len(one("minima_differ", *rates, *budgets).deciding.results) == 4


# Why a claim is undecided.


def test_no_cells_and_cells_for_one_part_only() -> None:
    found = weigh_claims([])
    assert all(each.finding is UNDECIDED and each.reason.startswith("no cells; it takes") for each in found.claims)
    assert found.num_tested == 0
    partly = one("cnn_first_random", cell([2 * n for n in BASE], model="cnn", **RANDOM), cell(BASE, **RANDOM))
    assert partly.reason.startswith("no cells for CNN over ViT; it takes a CNN")
    assert "CNN over MLP: ratio of EMCs 2" in partly.sentence()


def test_an_order_with_one_end_only_is_no_order() -> None:
    found = one("mnist_first_imagenet_last", *(cell(times(f), data=d) for d, f in (("mnist", 2), ("cifar10", 1))))
    assert found.reason.startswith("no cells for others over imagenet; it takes")
    assert "Mnist over cifar10: ratio of EMCs 2" in found.sentence()


def test_too_few_replicates() -> None:
    pair = cell(BASE[:4], labels="random"), cell([2 * n for n in BASE[:4]])
    found = one("random_below_semantic", *pair)
    assert found.finding is UNDECIDED
    assert found.reason == "too few replicates (4): their smallest p-value is 0.12, too large for 2 claims"


def test_no_difference() -> None:
    found = one("random_below_semantic", cell(BASE, labels="random"), cell(BASE[::-1]))
    assert found.finding is UNDECIDED
    assert found.reason.startswith("the replicates differ too much")


@pytest.mark.parametrize(
    ("how", "said", "budget"),
    [("undertrained", "6 undertrained of 20", SUPPORTED), ("pool", "6 with the whole pool", UNDECIDED)],
)
def test_censored_replicates_that_could_change_it_leave_it_open(how: str, said: str, budget: Finding) -> None:
    """Random labels below semantic ones, but six of the random EMCs are only lower bounds."""
    random = cell(BASE, labels="random", censored=6, how=how)
    found = one("random_below_semantic", random, cell([2 * n for n in BASE]))
    assert found.finding is UNDECIDED
    assert said in found.reason
    assert found.budget is not None
    assert found.budget.finding is budget
    assert f"at this budget, where what undertrained replicates fitted is their EMC: {budget.value}" in found.sentence()


def test_censored_replicates_that_cannot_change_it_do_not() -> None:
    semantic = replace(cell([2 * n for n in BASE], censored=10, how="pool"), dataset={**FACTS, "rows": 150})
    random = replace(cell(BASE, labels="random"), dataset=FACTS | {"rows": 150})
    found = one("random_below_semantic", random, semantic)
    assert found.finding is SUPPORTED
    assert found.deciding.honest is not None
    assert found.deciding.honest.effect.low == 0  # the semantic EMC may be anything above


def test_strata_of_which_all_is_censored_are_left_out_and_told() -> None:
    silent = [cell(BASE, labels=labels, data="wine", censored=10, how="pool") for labels in ("random", "semantic")]
    silent = [replace(r, dataset={**r.dataset, "rows": 80}) for r in silent]
    found = one("random_below_semantic", *_pair(RANDOM, SEMANTIC, 0.5), *silent)
    assert found.finding is SUPPORTED
    assert "1 stratum left out, of which all is censored" in found.sentence()


def test_a_correlation_with_lower_bounds_is_open_but_told_at_this_budget() -> None:
    results = _cloud(-1)
    results[0] = replace(results[0], censored=True)
    found = one("gap_against_rise", *results)
    assert found.finding is UNDECIDED
    assert found.budget is not None
    assert found.budget.finding is SUPPORTED
    assert "Kendall's tau -1" in found.sentence()


def test_without_structure_in_the_labels_nothing_is_said_of_it() -> None:
    """A net that tells ten classes no better than chance was given random labels twice."""
    noise = _pair(RANDOM, {**SEMANTIC, "accuracy": 0.11}, 0.5, data="digits", classes=10)
    found = one("random_below_semantic", *noise)
    assert found.honest is None
    assert found.reason == (
        "nothing is left to compare, for random over semantic labels: no structure was learned in 1 cell, whose test "
        "accuracy is about chance"
    )
    learned = _pair(RANDOM, {**SEMANTIC, "accuracy": 0.9}, 0.5, data="wine", classes=10)
    both = one("random_below_semantic", *noise, *learned)
    assert both.finding is SUPPORTED
    assert len(both.deciding.strata) == 1
    assert "no structure was learned in 1 cell" in both.sentence()
    assert "want of --test-split" in one("random_below_semantic", *_pair(RANDOM, SEMANTIC, 0.5)).sentence()


def test_models_that_learned_nothing_are_no_points() -> None:
    results = [cell(times(2 + k), model=f"mlp:width={k + 2}", accuracy=0.51, test_split=0.2) for k in range(6)]
    results += [cell(BASE, model=f"mlp:width={k + 2}", labels="random", test_split=0.2) for k in range(6)]
    assert "no structure was learned in 6 cells" in one("gap_against_rise", *results).reason


def test_variants_of_one_net_are_one_stratum() -> None:
    """Nine trainings of one net on the same samples, and one of another, whose EMC is above its parameters."""
    variants = [cell(times(1), labels="random", min_steps=steps) for steps in range(10, 100, 10)]
    others = [cell(times(f), labels="random", data=data, classes=2) for f, data in ((0.2, "wine"), (12, "adult"))]
    found = one("random_below_parameters", *variants, *others)
    part = found.deciding
    assert (len(part.strata), part.replicates) == (3, 30)
    assert "within strata 11 trainings are averaged, which differ in min_steps" in found.sentence()
    assert "nearest to 1, or beyond it, mlp on adult, labels random, classes 2 with 1.2" in (found.sentence())
    once = one("random_below_parameters", variants[0], *others).deciding
    assert once.honest is not None
    assert part.honest is not None
    assert once.honest.effect.low == pytest.approx(part.honest.effect.low)


def test_a_trend_with_size_is_told() -> None:
    grown = [cell(times((p / 500) ** 2), parameters=p, model=f"mlp:width={p // 100}", **RANDOM) for p in (500, 1000)]
    text = one("random_below_parameters", *grown).sentence()
    assert "the effect trends with size, up from 500 to 1,000 parameters (power" in text
    assert "500 to 1,000 parameters, a factor of 2, less than a decade" in text
    same = [cell(times(p / 500), parameters=p, model=f"mlp:width={p // 100}", **RANDOM) for p in (500, 1000)]
    assert "no trend with size is shown from 500 to 1,000" in one("random_below_parameters", *same).sentence()


def test_sizes_within_the_margin_are_told_and_others_are_no_pair() -> None:
    near = [cell(times(1.5), parameters=1030, **DEEP), cell(BASE, **WIDE)]
    assert "parameters of a stratum differ by up to 3.0 %" in one("depth_above_width", *near).sentence()
    far = [cell(times(1.5), parameters=1040, **DEEP), cell(BASE, **WIDE)]
    assert one("depth_above_width", *far).honest is None


def test_what_only_other_claims_leave_open_is_not_put_on_this_ones_replicates() -> None:
    """Its own p-value is the same at both extremes; only the correction for others moves."""
    low, high = Bounds(0.01, 0.01), Bounds(1.0, 1.0)
    found = one("random_below_semantic", *_pair(RANDOM, SEMANTIC, 0.5))
    weighed = Weighed(low, high, Bounds(0.04, 0.2), UNDECIDED)
    claim = CLAIMS.get("random_below_semantic").factory()
    reason = _reason(claim, found.parts, weighed, 20, 0.95)
    assert reason.startswith(
        "it depends on what the censored replicates of other claims would be, by Holm's correction"
    )


# Which pairs of SGD and GD count.


def test_sgd_that_fits_less_than_a_batch_counts_against_it() -> None:
    sgd, gd = {"optimizer": "sgd:lr=0.1", "batch_size": 64}, {"optimizer": "gd:lr=0.1"}
    assert one("sgd_above_gd", cell([n // 2 for n in BASE], **sgd), cell(BASE, **gd)).finding is CONTRADICTED
    small = [n // 2 for n in BASE]
    assert one("sgd_above_gd", cell(small, **sgd), cell(small[::-1], **gd)).honest is None
    worse = _pair({**sgd, "model": "mlp:width=8"}, {**gd, "model": "mlp:width=8"}, 0.2)
    better = _pair({**sgd, "model": "mlp:width=16"}, {**gd, "model": "mlp:width=16"}, 1.2)
    assert len(one("sgd_above_gd", *worse, *better).deciding.strata) == 2


def test_dropout_is_neither_width_nor_depth() -> None:
    deep, wide = {"model": "mlp:width=8,depth=3"}, {"model": "mlp:width=16,depth=1,dropout=0.3"}
    assert one("depth_above_width", *_pair(deep, wide, 1.5)).honest is None


def test_strata_that_contradict_each_other_leave_it_undecided() -> None:
    half = [each for data in ("digits", "wine", "adult") for each in _pair(RANDOM, SEMANTIC, 0.5, data=data)]
    agree = one("random_below_semantic", *half)
    assert agree.finding is SUPPORTED
    assert ", 0 of 3 the other way" in agree.sentence()
    found = one("random_below_semantic", *half, *_pair(RANDOM, SEMANTIC, 1.3, data="credit"))
    assert found.finding is UNDECIDED
    assert found.reason.startswith("the strata disagree: data credit alone has 1.3")
    assert "1 of 4 the other way" in found.sentence()


# Invariances, and the level.


def test_scaling_all_emcs_changes_nothing_of_a_ratio() -> None:
    first = one("random_below_semantic", cell([100, 120, 90, 80], labels="random"), cell([110, 150, 80, 70]))
    tenfold = one("random_below_semantic", cell([1000, 1200, 900, 800], labels="random"), cell([1100, 1500, 800, 700]))
    assert first.honest is not None
    assert tenfold.honest is not None
    assert first.honest.support == tenfold.honest.support
    assert first.deciding.honest is not None
    assert tenfold.deciding.honest is not None
    assert first.deciding.honest.effect.low == pytest.approx(tenfold.deciding.honest.effect.low)


def test_swapping_the_sides_swaps_the_evidence() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        a, b = (rng.integers(50, 200, 8).tolist() for _ in range(2))
        forth = one("random_below_semantic", cell(a, labels="random"), cell(b)).honest
        back = one("random_below_semantic", cell(b, labels="random"), cell(a)).honest
        assert forth is not None
        assert back is not None
        assert (forth.support, forth.against) == (back.against, back.support)


def test_parts_err_together_at_most_at_the_level() -> None:
    """Intersection-union: CNN equal to MLP but far above ViT is as good as never supported by that alone."""
    rng, supported, trials = np.random.default_rng(5), 0, 60
    for _ in range(trials):
        draw = {m: np.exp(5 + rng.normal(0, 0.3, 8)).astype(int) for m in ("cnn", "mlp", "vit")}
        draw["vit"] = draw["vit"] // 5
        found = one("cnn_first_semantic", *(cell(n.tolist(), model=m) for m, n in draw.items()))
        supported += found.finding is SUPPORTED
    assert supported / trials <= 0.05


# Which cells count.


def test_cells_that_differ_in_more_than_the_factor_are_no_stratum() -> None:
    random = cell(BASE, labels="random")
    for other in ({"seed": 1}, {"data": "wine"}, {"optimizer": "sgd"}, {"stall_tolerance": 0.05}, {"model": "cnn"}):
        assert one("random_below_semantic", random, cell(times(2), **other)).honest is None
    elsewhere = replace(cell(times(2)), search={**random.search, "n_start": 4, "n_max": 77})
    assert one("random_below_semantic", random, elsewhere).finding is SUPPORTED


def test_what_cannot_be_used_is_told() -> None:
    good = cell(BASE, labels="random")
    interrupted = replace(good, status=Status.INTERRUPTED)
    scan = cell(BASE, labels="random", growth="linear", model="linear")
    bare = replace(good, dataset={"rows": 5})
    found = weigh_claims([good, cell(BASE), cell(BASE[:3]), interrupted, scan, bare])
    assert found.left_out == {
        "was interrupted": 1,
        "does not know its dataset's content": 1,
        "has a twin of equal settings with as many replicates or more": 1,
        "has another estimand than most": 1,
    }
    assert "results left out" in dict(found.rows())
    assert one("random_below_semantic", good, cell(BASE), cell(BASE[:3])).deciding.replicates == 10


def test_a_question_has_an_answer_and_no_verdict_of_support() -> None:
    raised = one("weight_decay", cell(times(2), optimizer="adamw:weight_decay=0.1"), cell(BASE, optimizer="adamw"))
    assert raised.question
    assert raised.answer == "raises EMC"
    lowered = one("label_smoothing", cell(times(0.5), label_smoothing=0.1), cell(BASE))
    assert lowered.answer == "lowers EMC"
    mixed = one("weight_decay", cell(times(2), optimizer="adamw:weight_decay=0.1"), cell(BASE, optimizer="adam"))
    assert mixed.row()[1:3] == raised.row()[1:3]  # adamw without decay is adam
    base = "adam|beta1=0.9|beta2=0.999|eps=1e-08|weight_decay=0.0"
    resolved = "lr=0.003,beta1=0.9,beta2=0.999,eps=1e-08,weight_decay=0.0"
    both = cell(times(2), optimizer=f"sam:base={base},lr=0.003"), cell(BASE, optimizer=f"adamw:{resolved}")
    assert one("sam", *both).answer == "raises EMC"
    assert one("sam", both[0], cell(BASE, optimizer="sgd")).honest is None
    over = cell(BASE, optimizer="sam:base=sgd,lr=0.1")
    assert one("sam", over, cell(BASE, optimizer="sgd:lr=0.1")).honest is not None
    assert one("sam", over, cell(BASE, optimizer="sgd:lr=0.1,momentum=0.5")).honest is None
    bare = replace(over, procedure={**over.procedure, "optimizer": "sam:base=sgd,lr=0.1"})
    assert one("sam", bare, cell(BASE, optimizer="sgd:lr=0.1,momentum=0.5")).honest is None
    assert one("dropout", cell(BASE, model="mlp:width=16,dropout=0.1"), cell(BASE, model="mlp:width=16")).honest


# What is read.


@pytest.fixture(scope="module")
def found() -> Claims:
    return weigh_claims([*TRUE_AND_OPPOSITE["random_below_semantic"][0], cell(BASE, censored=3, inputs="gaussian")])


def test_the_record_is_plain_json(found: Claims) -> None:
    record = json.loads(found.to_json())
    by_name = {each["name"]: each for each in record["claims"]}
    assert by_name["random_below_semantic"]["verdict"] == "supported"
    assert by_name["random_below_semantic"]["parts"][0]["strata"][0]["replicates"] == 10
    assert len(record["questions"]) == 5
    assert json.loads(found["random_below_semantic"].to_json())["parts"][0]["honest"]["support"] == [2 / 1024] * 2


def test_markdown_has_a_row_and_a_sentence_a_claim(found: Claims) -> None:
    lines = found.to_markdown().splitlines()
    rows = [line for line in lines if line.startswith("| random_below_semantic ")]
    assert len(rows) == 1
    assert rows[0].count(" | ") == 6
    assert sum(line.startswith("- **") for line in lines) == len(found.claims) + len(found.questions)


def test_one_claim_shows_its_strata_and_cells(found: Claims) -> None:
    text = "\n".join(f"{name} {said}" for name, said in detail_rows(found["random_below_semantic"]))
    assert "random labels, digits: EMC 50 " in text
    assert "all 1,024 sign flips" in text
    with pytest.raises(UnknownNameError, match='there is no claim "random_below"; did you mean'):
        found["random_below"]


def test_a_journal_that_cannot_be_read_and_a_confidence_out_of_range(tmp_path: Any) -> None:
    with pytest.raises(JournalError, match="got"):
        emc.claims(tmp_path / "none.jsonl")
    with pytest.raises(SpecError, match="--confidence must be between"):
        emc.claims(tmp_path / "none.jsonl", confidence=1.5)
