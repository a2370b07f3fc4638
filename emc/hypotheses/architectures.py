"""Study: architectures."""

from __future__ import annotations

from collections.abc import Sequence

from emc.hypotheses import CLAIMS
from emc.hypotheses.cells import FAMILY, labelled, pairs
from emc.hypotheses.families import CNN, MLP, VIT, of
from emc.hypotheses.parts import Claim
from emc.hypotheses.ratios import EmcPart, ratio
from emc.results import EmcResult

STUDY = "architectures"
NEEDS = "a CNN, an MLP and a ViT of one procedure with {} labels, parameters within 3.5 %"


def _parts(results: Sequence[EmcResult], labels: str) -> list[EmcPart]:
    held = list(filter(labelled(labels), results))
    found = {said: pairs(held, FAMILY, of(CNN), of(other), sized=True) for said, other in (("MLP", MLP), ("ViT", VIT))}
    return [
        EmcPart(f"CNN over {said}", tuple(ratio(a, b) for a, b in both), structured=labels == "semantic")
        for said, both in found.items()
    ]


@CLAIMS.register("cnn_first_semantic")
def cnn_first_semantic() -> Claim:
    """At matched parameters CNNs fit more semantically labelled samples than MLPs and than ViTs."""
    return Claim(STUDY, NEEDS.format("semantic"), lambda results: _parts(results, "semantic"))


@CLAIMS.register("cnn_first_random")
def cnn_first_random() -> Claim:
    """At matched parameters CNNs fit more randomly labelled samples than MLPs and than ViTs."""
    return Claim(STUDY, NEEDS.format("random"), lambda results: _parts(results, "random"))
