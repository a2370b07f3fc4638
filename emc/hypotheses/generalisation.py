"""Study: generalisation against the rise of EMC from random to semantic labels."""

from __future__ import annotations

from collections.abc import Sequence

from emc.hypotheses import CLAIMS
from emc.hypotheses.cells import FAMILY, accuracy, groups, labelled, pairs, unlearned
from emc.hypotheses.clouds import Cloud, Point
from emc.hypotheses.parts import Claim, no_structure
from emc.results import EmcResult


@CLAIMS.register("gap_against_rise")
def gap_against_rise() -> Claim:
    """Over models, the generalisation gap is negatively correlated with the % rise of EMC from random to semantic."""

    def parts(results: Sequence[EmcResult]) -> list[Cloud]:
        found = pairs(results, ("labels",), labelled("semantic"), labelled("random"))
        known = {id(a): (a, b) for a, b in found if accuracy(a) is not None and b.emc}
        clouds = groups((a for a, _ in known.values()), FAMILY)
        told = [group for group in clouds if not unlearned(group)]
        points = [tuple(_point(*known[id(a)]) for a in group) for group in told]
        noise = sum(map(len, clouds)) - sum(map(len, told))
        return [Cloud("generalisation gap and % rise of EMC", tuple(points), -1, "models", no_structure(noise))]

    needs = "at least four models with semantic labels and --test-split, and with random labels"
    return Claim("generalisation", needs, parts)


def _point(semantic: EmcResult, random: EmcResult) -> Point:
    """The rise in % and the gap: training accuracy, 1 at a fit, less test accuracy."""
    rise = 100 * (semantic.emc / random.emc - 1)
    gap, model = 1 - (accuracy(semantic) or 0.0), str(semantic.procedure.get("model"))
    return Point(rise, gap, (semantic, random), model, semantic.censored or random.censored)
