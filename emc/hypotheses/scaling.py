"""Study: scaling."""

from __future__ import annotations

from collections.abc import Sequence

from emc.hypotheses import CLAIMS
from emc.hypotheses.cells import dimensions, groups, is_plain, same_size
from emc.hypotheses.parts import Claim
from emc.hypotheses.ratios import EmcPart, ratio
from emc.results import EmcResult


@CLAIMS.register("depth_above_width")
def depth_above_width() -> Claim:
    """At matched parameters the deeper and narrower of two members of a family fits more samples."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        strata = [
            ratio(a, b)
            for group in groups(filter(is_plain, results), ("model.",))
            for a in group
            for b in group
            if same_size(a, b) and _deeper(a, b)
        ]
        return [EmcPart("deeper over wider", tuple(strata))]

    return Claim("scaling", "one family with different depth and width, parameters within 3.5 %", parts)


def _deeper(a: EmcResult, b: EmcResult) -> bool:
    depths, widths = ([dimensions(r, role) or 0.0 for r in (a, b)] for role in ("depth", "width"))
    return depths[0] > depths[1] > 0 and 0 < widths[0] < widths[1]
