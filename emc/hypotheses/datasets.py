"""Study: datasets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from emc.hypotheses import CLAIMS
from emc.hypotheses.cells import DATASET, Match, accuracy, clusters, groups, labelled, name, pairs
from emc.hypotheses.clouds import Cloud, Point
from emc.hypotheses.parts import Claim
from emc.hypotheses.ratios import EmcPart, Stratum, ratio
from emc.results import EmcResult
from emc.stats.correlate import MIN_POINTS

STUDY = "datasets"

#: Real tables; random numbers in a table are none, nor are arrays of a user's, which may be anything.
TABLES = ("adult", "breast_cancer", "covertype", "credit", "csv", "openml", "wine")

#: The paper's image sets but the two ends of its order.
BETWEEN = ("cifar10", "cifar100")

#: What may differ between datasets at matched parameters: the width that matches them too.
SIZED = (*DATASET, "model.")

_semantic = labelled("semantic")


def _of_table(result: EmcResult) -> bool:
    return name(result, "data") in TABLES


def _of_images(result: EmcResult) -> bool:
    return len(result.dataset.get("shape") or ()) == 3


def _is_table(result: EmcResult) -> bool:
    return _semantic(result) and _of_table(result)


def _is_image(result: EmcResult) -> bool:
    return _semantic(result) and _of_images(result)


def _one_label_space() -> tuple[Match, Match]:
    """Tables and images with random labels of a number of classes that was asked for."""
    random = labelled("random")
    return (
        lambda r: random(r) and _of_table(r) and r.task.get("classes") is not None,
        lambda r: random(r) and _of_images(r) and r.task.get("classes") is not None,
    )


def _over(results: Sequence[EmcResult], first: str, others: Sequence[str]) -> tuple[Stratum, ...]:
    found = pairs(
        results,
        SIZED,
        lambda r: _is_image(r) and name(r, "data") == first,
        lambda r: _is_image(r) and name(r, "data") in others,
        sized=True,
    )
    return tuple(ratio(a, b) for a, b in found)


@CLAIMS.register("tabular_above_image")
def tabular_above_image() -> Claim:
    """At matched parameters the EMC of the tables is above that of the image sets."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        strata = [ratio(a, b) for a, b in pairs(results, SIZED, _is_table, _is_image, sized=True)]
        said = "tables over images, random labels of equally many classes"
        alike = [ratio(a, b) for a, b in pairs(results, SIZED, *_one_label_space(), sized=True)]
        return [
            EmcPart("tables over images", tuple(strata), independent=True),
            EmcPart(said, tuple(alike), None, independent=True),
        ]

    needs = "one procedure with semantic labels on a real table and on an image set, parameters within 3.5 %"
    return Claim(STUDY, needs, parts)


@CLAIMS.register("mnist_first_imagenet_last")
def mnist_first_imagenet_last() -> Claim:
    """At matched parameters the EMC of MNIST is above, that of ImageNet below, that of every other image set."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        orders = {(a, b): _over(results, a, (b,)) for a, b in combinations(("mnist", *BETWEEN, "imagenet"), 2)}
        first = {pair for pair, strata in orders.items() if strata and pair[0] == "mnist"}
        last = {pair for pair, strata in orders.items() if strata and pair[1] == "imagenet"}
        found = [
            EmcPart(f"{upper} over {lower}", strata, independent=True)
            for (upper, lower), strata in orders.items()
            if (upper, lower) in first | last
        ]
        ends = (("mnist over others", first), ("others over imagenet", last))
        return [*found, *(EmcPart(said, ()) for said, held in ends if not held)]

    needs = "one procedure with semantic labels on mnist, on imagenet and on another of the paper's image sets"
    return Claim(STUDY, f"{needs}, parameters within 3.5 %", parts)


@CLAIMS.register("accuracy_with_emc")
def accuracy_with_emc() -> Claim:
    """Over datasets, test accuracy is positively correlated with the logarithm of the EMC."""

    def parts(results: Sequence[EmcResult]) -> list[Cloud]:
        held = [r for r in results if _semantic(r) and accuracy(r) is not None]
        return [Cloud("test accuracy and log EMC over datasets", tuple(_clouds(held)), 1)]

    return Claim(STUDY, "one procedure with semantic labels and --test-split on at least four datasets", parts)


def _clouds(held: Sequence[EmcResult]) -> list[tuple[Point, ...]]:
    """Groups of one point a dataset: models of one size; else of one shape; else for which one size was asked."""
    sized = [_points(cluster) for group in groups(held, SIZED) for cluster in clusters(group)]
    if any(len(points) >= MIN_POINTS for points in sized):
        return sized
    shaped = [_points(group) for group in groups(held, DATASET)]
    if any(len(points) >= MIN_POINTS for points in shaped):
        return shaped
    asked: dict[tuple[int, int], list[EmcResult]] = {}
    for place, group in enumerate(groups(held, SIZED)):
        for result in (r for r in group if r.matched is not None):
            asked.setdefault((place, (result.matched or {})["asked"]), []).append(result)
    return [_points(group) for group in asked.values()]


def _points(group: Sequence[EmcResult]) -> tuple[Point, ...]:
    by_content = {str(r.dataset["content_hash"]): r for r in group if r.emc}
    held = by_content.items()
    return tuple(Point(math.log(r.emc), accuracy(r) or 0.0, (r,), content, r.censored) for content, r in held)
