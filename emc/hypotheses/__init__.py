"""The paper's claims as hypotheses that a journal can decide: one file a study, none knows where the journal is from.

References:
    Shwartz-Ziv, Goldblum, Bansal, Bruss, LeCun and Wilson 2024, "Just How Flexible are Neural Networks in Practice?".
"""

from __future__ import annotations

from emc.hypotheses.parts import Claim
from emc.registry import Registry

#: A factory takes nothing and gives the claim; its docstring's first line is the hypothesis as it is tested.
CLAIMS: Registry[Claim] = Registry("claim", "emc.hypotheses", "emc.hypotheses")
