"""What `emc estimate` brings: the record, and the sentences that say how far to trust it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from emc.results import ESTIMATE_KIND, ProbeResult, Tabular, Verdict, tuning_text, unused_text
from emc.specs import procedure_text
from emc.stats.steps_to_fit import STUDY


@dataclass(frozen=True)
class Climbed:
    """How one replicate's growth ended.

    Attributes:
        replicate: its number.
        largest: largest size it fitted; 0 if none.
        steps: steps that size took.
        end: why it grew no further.
    """

    replicate: int
    largest: int
    steps: int
    end: str


@dataclass(frozen=True, repr=False)
class Estimate(Tabular):
    """An EMC extrapolated from the steps that smaller sizes took to fit; no measurement.

    Attributes:
        emc: the estimate; where `censored`, the lower median of the replicates' largest fitted sizes.
        censored: whether nothing was extrapolated.
        reason: why not; empty where it was.
        interval: for the EMC that a measurement would find; None where nothing was extrapolated.
        interval_method: how it was made.
        confidence: asked for the interval.
        largest: largest size any replicate fitted.
        steps: steps it took.
        law: the fitted relation of steps and n.
        climbs: one a replicate.
        parameters: trainable parameters.
        task, procedure, search: the resolved specification.
        dataset: what was loaded.
        seed: of the measurement.
        fingerprint: identity of the estimate.
        probes: all that were trained, in the order of replicate and n.
        cost: probes, steps, sample_steps, seconds of those probes.
        full_cost: at most that of `emc measure` with the same settings: probes, steps, sample_steps, flops.
        versions: what the numbers were made with.
        tuning: how the learning rate was chosen (`emc.tuning.Tuning.to_dict`); None where it was named.
        unused: what this run trained beside the probes (`emc.results.unused`); empty where that was nothing.
    """

    emc: int
    censored: bool
    reason: str
    interval: tuple[float, float] | None
    interval_method: str
    confidence: float
    largest: int
    steps: int
    law: str
    climbs: tuple[Climbed, ...]
    parameters: int
    task: Mapping[str, Any]
    procedure: Mapping[str, Any]
    search: Mapping[str, Any]
    dataset: Mapping[str, Any]
    seed: int
    fingerprint: str
    probes: tuple[ProbeResult, ...]
    cost: Mapping[str, float]
    full_cost: Mapping[str, float]
    versions: Mapping[str, Any]
    tuning: Mapping[str, Any] | None = None
    unused: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How far it extrapolates: the estimate over the largest fitted size; None where it does not."""
        return None if self.censored else self.emc / self.largest

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return any(climb.end == "interrupted" for climb in self.climbs)

    def to_dict(self) -> dict[str, Any]:
        """The record that `--json` writes."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            "kind": ESTIMATE_KIND,
            **plain,
            "interval": None if self.interval is None else list(self.interval),
            "ratio": self.ratio,
            "study": asdict(STUDY),
            "climbs": [asdict(climb) for climb in self.climbs],
            "probes": [probe.to_dict() for probe in self.probes],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Estimate:
        """The inverse of `to_dict`."""
        kept = {key: value for key, value in values.items() if key in cls.__dataclass_fields__}
        kept |= {
            "interval": None if values["interval"] is None else tuple(values["interval"]),
            "climbs": tuple(Climbed(**climb) for climb in values["climbs"]),
            "probes": tuple(ProbeResult.from_dict(entry) for entry in values["probes"]),
        }
        return cls(**kept)

    def to_json(self) -> str:
        """The record as JSON text; never NaN or infinity."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def rows(self) -> list[tuple[str, str]]:
        """The table a user reads, as (name, text) pairs."""
        lines = [
            ("estimated EMC", f">= {self.emc} ({self.reason})" if self.censored else f"{self.emc} (no measurement)"),
            (f"{100 * self.confidence:.4g} % interval", self._interval_text()),
        ]
        if not self.censored:
            lines += [("how far to trust it", STUDY.sentence()), ("law", self.law)]
        return [
            *lines,
            ("extrapolated from", self._source_text()),
            ("replicates", self._climbs_text()),
            ("parameters", f"{self.parameters:,}"),
            ("procedure", procedure_text(self.procedure)),
            *([] if self.tuning is None else [("tuned", tuning_text(self.tuning))]),
            ("data", f"{self.task['data']}, {self.task['labels']} labels, {self.task['inputs']} inputs"),
            ("cost", self._cost_text()),
            ("fingerprint", self.fingerprint),
        ]

    def _interval_text(self) -> str:
        if self.interval is None:
            return f"none ({self.interval_method})"
        return f"{self.interval[0]:.4g} to {self.interval[1]:.4g} ({self.interval_method})"

    def _source_text(self) -> str:
        fitted = len({probe.n for probe in self.probes if probe.verdict is Verdict.FITTED})
        if fitted == 0:
            return "nothing: no probe was fitted"
        text = f"{fitted} fitted sizes up to n = {self.largest:,}, which took {self.steps:,} steps"
        return text if self.ratio is None else f"{text}; the estimate is {self.ratio:.3g} times that"

    def _climbs_text(self) -> str:
        ends = Counter(climb.end for climb in self.climbs)
        sizes = " ".join(str(climb.largest) for climb in self.climbs)
        return f"up to {sizes} (" + ", ".join(f"{count} {end}" for end, count in ends.items()) + ")"

    def _cost_text(self) -> str:
        own, full = self.cost, self.full_cost
        return (
            f"{own['probes']:,.0f} probes, {own['steps']:,.0f} steps, {own['sample_steps']:,.0f} samples seen, "
            f"{own['seconds']:,.1f} s{unused_text(self.unused)}; "
            f"a full measurement sees at most {full['sample_steps']:.3g}"
        )
