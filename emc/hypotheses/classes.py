"""Study: number of classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emc.hypotheses import CLAIMS
from emc.hypotheses.cells import clusters, groups, labelled, num_classes, pool_bound
from emc.hypotheses.parts import ABOVE, BELOW, Claim, Region
from emc.hypotheses.ratios import EmcPart, slope
from emc.results import EmcResult

STUDY = "number of classes"
NEEDS = "one procedure with {} labels at several numbers of classes, its model the same or within 3.5 % in parameters"


def _parts(results: Sequence[EmcResult], labels: str, region: Region) -> list[EmcPart]:
    """The claim's part, and EMC a parameter beside it: the output layer grows with the classes."""
    structured = labels == "semantic"
    held = [r for r in results if labelled(labels)(r) and r.parameters and not pool_bound(r)]
    shaped = [group for group in groups(held, ("classes",)) if len(set(map(num_classes, group))) > 1]
    found = shaped or [each for group in groups(held, ("classes", "model.")) for each in clusters(group)]
    found = [group for group in found if len(set(map(num_classes, group))) > 1]
    logs = [[math.log(num_classes(r)) for r in group] for group in found]
    sizes = [[math.log(r.parameters or 1) for r in group] for group in found]
    emc = tuple(slope(group, x) for group, x in zip(found, logs, strict=True))
    share = tuple(slope(group, x, less) for group, x, less in zip(found, logs, sizes, strict=True))
    name = f"on log classes, {labels}"
    return [
        EmcPart(f"log EMC {name}", emc, region, "exponent of classes", False, structured=structured),
        EmcPart(f"log EMC a parameter {name}", share, None, "exponent of classes", False, structured=structured),
    ]


@CLAIMS.register("classes_lower_semantic")
def classes_lower_semantic() -> Claim:
    """With semantic labels EMC falls with the number of classes."""
    return Claim(STUDY, NEEDS.format("semantic"), lambda results: _parts(results, "semantic", BELOW))


@CLAIMS.register("classes_raise_random")
def classes_raise_random() -> Claim:
    """With random labels EMC grows with the number of classes."""
    return Claim(STUDY, NEEDS.format("random"), lambda results: _parts(results, "random", ABOVE))
