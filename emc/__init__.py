"""Effective model complexity: how many samples can a training procedure really fit?

>>> import emc
>>> result = emc.measure(model="mlp:width=4", data="digits", labels="random", n_max=16, replicates=1)
>>> result.emc, result.status.key
(16, 'censored_above')
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emc.api import Prepared, measure, prepare
    from emc.claiming import Claims, claims
    from emc.comparison import Comparison, compare
    from emc.curve_record import Curve
    from emc.curves import curve
    from emc.estimate_record import Estimate
    from emc.extrapolation import estimate
    from emc.frames import load
    from emc.power_laws import power_law
    from emc.results import EmcResult
    from emc.scaling import Scaled, scale
    from emc.specs import Execution, Measurement, Procedure, Search, Task
    from emc.stats.correlate import Correlation, correlate
    from emc.stats.power_law import PowerLaw
    from emc.sweeping import SweepResult, sweep

__version__ = "0.1.0"

# MKL's sums otherwise depend on where in memory a matrix lies, and a verdict on who else is in the stack. MKL reads
# this at its first product in the process.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

_HOMES = {
    "measure": "emc.api",
    "prepare": "emc.api",
    "Prepared": "emc.api",
    "claims": "emc.claiming",
    "Claims": "emc.claiming",
    "compare": "emc.comparison",
    "Comparison": "emc.comparison",
    "curve": "emc.curves",
    "Curve": "emc.curve_record",
    "power_law": "emc.power_laws",
    "PowerLaw": "emc.stats.power_law",
    "estimate": "emc.extrapolation",
    "Estimate": "emc.estimate_record",
    "correlate": "emc.stats.correlate",
    "Correlation": "emc.stats.correlate",
    "EmcResult": "emc.results",
    "load": "emc.frames",
    "Execution": "emc.specs",
    "Measurement": "emc.specs",
    "Procedure": "emc.specs",
    "scale": "emc.scaling",
    "Scaled": "emc.scaling",
    "Search": "emc.specs",
    "SweepResult": "emc.sweeping",
    "Task": "emc.specs",
    "sweep": "emc.sweeping",
}

__all__ = [
    "Claims",
    "Comparison",
    "Correlation",
    "Curve",
    "EmcResult",
    "Estimate",
    "Execution",
    "Measurement",
    "PowerLaw",
    "Prepared",
    "Procedure",
    "Scaled",
    "Search",
    "SweepResult",
    "Task",
    "claims",
    "compare",
    "correlate",
    "curve",
    "estimate",
    "load",
    "measure",
    "power_law",
    "prepare",
    "scale",
    "sweep",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for, so that `emc --help` does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
