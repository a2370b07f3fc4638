"""Steps to fit against n / EMC: what a probe near the EMC costs; of the cells of other studies."""

from __future__ import annotations

from figures.power_laws import sweeps

__all__ = ["sweeps"]
