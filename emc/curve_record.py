"""The record of a curve: P(fit) and training accuracy at each size, n50, and the table a user reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from emc.results import CURVE_KIND, ProbeResult, Tabular, Verdict, tuning_text, unused_text
from emc.specs import procedure_text
from emc.stats.cover import Region, half_size, separable
from emc.stats.fitted import FittedCurve, pair
from emc.stats.proportions import mean_interval, wilson


@dataclass(frozen=True)
class CurvePoint:
    """What the draws at one size showed.

    Attributes:
        n: samples.
        asked: draws asked for.
        fits: draws that were fitted.
        failures: draws that were not.
        undertrained: of these, the ones that may be a lack of training.
        diverged: draws that gave no evidence.
        fit_share: fits / (fits + failures); None where draws are missing, for trainings that fit end first, or where
            none gave evidence.
        fit_interval: Wilson's for P(fit).
        accuracy: mean training accuracy of the draws that gave evidence and were trained (a conflict among the samples
            needs no training); None without one, and as for `fit_share`.
        accuracy_interval: by the bootstrap over draws; None for fewer than two.
        steps: optimizer steps of all draws.
        seconds: wall time of all draws.
    """

    n: int
    asked: int
    fits: int
    failures: int
    undertrained: int
    diverged: int
    fit_share: float | None
    fit_interval: tuple[float, float] | None
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    steps: int
    seconds: float

    @property
    def missing(self) -> int:
        """Draws without a result, where the curve was interrupted."""
        return self.asked - self.fits - self.failures - self.diverged

    @classmethod
    def of(cls, n: int, probes: Sequence[ProbeResult], asked: int, confidence: float) -> CurvePoint:
        """Sum up the draws of one size."""
        evidence = [p for p in probes if p.verdict in (Verdict.FITTED, Verdict.NOT_FITTED)]
        fits = sum(p.verdict is Verdict.FITTED for p in evidence)
        told = bool(evidence) and len(probes) == asked
        accuracies = [p.correct / p.n for p in evidence if p.trained]
        return cls(
            n=n,
            asked=asked,
            fits=fits,
            failures=len(evidence) - fits,
            undertrained=sum(p.evidence is not None and p.evidence.undertrained for p in evidence),
            diverged=len(probes) - len(evidence),
            fit_share=fits / len(evidence) if told else None,
            fit_interval=wilson(fits, len(evidence), confidence) if told else None,
            accuracy=float(np.mean(accuracies)) if told and accuracies else None,
            accuracy_interval=mean_interval(accuracies, confidence) if told and accuracies else None,
            steps=sum(p.steps for p in probes),
            seconds=sum(p.seconds for p in probes),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CurvePoint:
        """From plain JSON values."""
        return cls(**{**values, **{name: pair(values[name]) for name in ("fit_interval", "accuracy_interval")}})


@dataclass(frozen=True)
class CoverCheck:
    """The curve held against Cover's theorem.

    Attributes:
        dim: of the inputs.
        regions: the theorem's probability at each size, and the shares it allows at all sizes at once.
        outside: sizes whose share lies outside.
        confidence: of all regions at once.
    """

    dim: int
    regions: tuple[Region, ...]
    outside: tuple[int, ...]
    confidence: float

    @property
    def n50(self) -> int:
        """The theorem's."""
        return half_size(self.dim)

    def line(self) -> list[tuple[int, float]]:
        """(n, probability) at every size from the first to the last."""
        first, last = self.regions[0].n, self.regions[-1].n
        return [(n, separable(n, self.dim)) for n in range(first, last + 1)]

    @property
    def inside(self) -> bool:
        """Whether every share lies inside."""
        return not self.outside

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CoverCheck:
        """From plain JSON values."""
        regions = tuple(Region(**entry) for entry in values["regions"])
        return cls(values["dim"], regions, tuple(values["outside"]), values["confidence"])


@dataclass(frozen=True, repr=False)
class Curve(Tabular):
    """P(fit) and mean training accuracy against n.

    Attributes:
        points: by n.
        fitted: the curve through P(fit) with n50; None where the points do not bracket n50.
        cover: the comparison with Cover's theorem; None where it says nothing of this procedure and task.
        draws: asked for at each size.
        confidence: of every interval.
        parameters: trainable parameters; None of a training that emc cannot look into.
        task, procedure: the resolved specification.
        dataset: what was loaded.
        seed: everything random derives from it.
        fingerprint: identity of the curve.
        probes: all probes of the points, by draw and n.
        cost: probes, steps, sample_steps, seconds, those that looked for the sizes included.
        searched: probes that looked for the sizes; 0 where they were named.
        interrupted: whether draws are missing.
        versions: what the numbers were made with.
        tuning: how the learning rate was chosen (`emc.tuning.Tuning.to_dict`); None where it was named.
        unused: what this run trained beside the probes (`emc.results.unused`); empty where that was nothing.
    """

    points: tuple[CurvePoint, ...]
    fitted: FittedCurve | None
    cover: CoverCheck | None
    draws: int
    confidence: float
    parameters: int | None
    task: Mapping[str, Any]
    procedure: Mapping[str, Any]
    dataset: Mapping[str, Any]
    seed: int
    fingerprint: str
    probes: tuple[ProbeResult, ...]
    cost: Mapping[str, float]
    searched: int
    interrupted: bool
    versions: Mapping[str, Any]
    tuning: Mapping[str, Any] | None = None
    unused: Mapping[str, float] = field(default_factory=dict)

    @property
    def n50(self) -> float | None:
        """The EMC: the size that half of the draws fit; None where the points do not bracket it."""
        return None if self.fitted is None else self.fitted.n50

    @property
    def interval(self) -> tuple[float, float] | None:
        """For n50."""
        return None if self.fitted is None else self.fitted.interval

    def to_dict(self) -> dict[str, Any]:
        """The record that `--json` writes."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            "kind": CURVE_KIND,
            **plain,
            "n50": self.n50,
            "points": [asdict(point) for point in self.points],
            "fitted": None if self.fitted is None else asdict(self.fitted),
            "cover": None if self.cover is None else {**asdict(self.cover), "inside": self.cover.inside},
            "probes": [probe.to_dict() for probe in self.probes],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Curve:
        """The inverse of `to_dict`."""
        kept = {name: values[name] for name in cls.__dataclass_fields__ if name not in ("unused", "interrupted")}
        kept |= {
            "unused": values.get("unused", {}),
            "interrupted": values.get("interrupted", False),
            "points": tuple(CurvePoint.from_dict(entry) for entry in values["points"]),
            "fitted": None if values["fitted"] is None else FittedCurve.from_dict(values["fitted"]),
            "cover": None if values["cover"] is None else CoverCheck.from_dict(values["cover"]),
            "probes": tuple(ProbeResult.from_dict(entry) for entry in values["probes"]),
        }
        return cls(**kept)

    def to_json(self) -> str:
        """The record as JSON text; never NaN or infinity."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def record(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """The record for the journal, which holds its probes already: their keys stand for them.

        Args:
            cell: its settings as the user gave them.
        """
        record = self.to_dict() | {"probes": [probe.key for probe in self.probes], "cell": dict(cell)}
        del record["unused"], record["interrupted"]  # of the run; one that was interrupted is not kept
        return record

    def rows(self) -> list[tuple[str, str]]:
        """The table a user reads: n50, then every size."""
        rows = [("EMC (n50)", self._n50_text())]
        if self.fitted is not None:
            rows.append((f"{100 * self.confidence:.4g} % interval", self._interval_text(self.fitted)))
        if self.cover is not None:
            rows.append(("Cover's theorem", self._cover_text(self.cover)))
        rows += [("n", _HEADER), *((f"{point.n:,}", _point_text(point)) for point in self.points)]
        undertrained = self._undertrained_text()
        rows += [("undertrained", undertrained)] if undertrained else []
        searched = f", {self.searched} of them to find the sizes" if self.searched else ""
        cost = f"{self.cost['probes']:,.0f} probes{searched}, {self.cost['steps']:,.0f} steps"
        return [
            *rows,
            ("procedure", procedure_text(self.procedure)),
            *([] if self.tuning is None else [("tuned", tuning_text(self.tuning))]),
            ("data", f"{self.task['data']}, {self.task['labels']} labels, {self.task['inputs']} inputs"),
            ("cost", f"{cost}, {self.cost['seconds']:,.1f} s{unused_text(self.unused)}"),
            ("fingerprint", self.fingerprint),
        ]

    def _n50_text(self) -> str:
        if self.fitted is not None:
            return f"{'>= ' if self.fitted.censored else ''}{self.fitted.n50:.4g}"
        shares = [point.fit_share for point in self.points if point.fit_share is not None]
        if not shares:
            return "none (no size has all its draws)" if self.interrupted else "none (no draw gave evidence)"
        if min(shares) >= 0.5:
            return "none (at least half of the draws fit at every size; name larger --sizes)"
        return "none (less than half of the draws fit at every size; name smaller --sizes)"

    def _interval_text(self, fitted: FittedCurve) -> str:
        if fitted.interval is None:
            return f"none ({fitted.method})"
        text = f"{fitted.interval[0]:.4g} to {fitted.interval[1]:.4g} ({fitted.method})"
        open_end = "; for half of the draws within the budget: trained to their end they may fit more"
        return text + (open_end if fitted.censored else "")

    def _cover_text(self, cover: CoverCheck) -> str:
        where = "inside" if cover.inside else f"outside, at n = {', '.join(map(str, cover.outside))},"
        return (
            f"{where} the band that {100 * cover.confidence:.4g} % of curves stay in, "
            f"all {len(cover.regions)} sizes at once; n50 is {cover.n50}"
        )

    def _undertrained_text(self) -> str:
        count = sum(point.undertrained for point in self.points)
        if not count:
            return ""
        text = (
            f"{count} of {sum(point.failures for point in self.points)} failures; there P(fit) is a lower bound for "
            "the procedure trained to its end"
        )
        better = None if self.fitted is None else self.fitted.n50_if_trained
        return text if better is None else f"{text}; counted as fits, they would make n50 {better:.4g}"


_HEADER = f"{'fitted':>9}  {'P(fit)':>6}  {'interval':^11}  {'accuracy':>8}  {'interval':^13}  undertrained  diverged"


def _point_text(point: CurvePoint) -> str:
    fitted = f"{point.fits}/{point.fits + point.failures}"
    if point.fit_share is None or point.fit_interval is None:
        told = f"no share, {point.missing} draws missing" if point.missing else "no evidence"
        return f"{fitted:>9}  {told:<44}  {point.undertrained:>12}  {point.diverged:>8}"
    low, high = point.fit_interval
    ends = point.accuracy_interval
    spread = "" if ends is None else f"{ends[0]:.4f}-{ends[1]:.4f}"
    accuracy = "untried" if point.accuracy is None else f"{point.accuracy:.4f}"
    return (
        f"{fitted:>9}  {point.fit_share:>6.3f}  {low:.3f}-{high:.3f}  {accuracy:>8}  {spread:^13}  "
        f"{point.undertrained:>12}  {point.diverged:>8}"
    )
