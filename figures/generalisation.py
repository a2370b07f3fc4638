"""Generalisation gap against the rise of EMC from random to semantic labels (paper, section on generalisation)."""

from __future__ import annotations

from figures.labels import sweeps

__all__ = ["sweeps"]
