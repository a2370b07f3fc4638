"""A stand-in for training whose steps to fit grow exactly by a law."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emc.results import Evidence, ProbeResult, RunningProbe, Verdict
from emc.specs import Probe
from emc.training.setup import Setup


@dataclass
class StepsOracle:
    """Steps grow from `first` of the budget at n = 0 to all of it at `emc`, exponentially; above the EMC nothing fits.

    Attributes:
        emc: where the budget is reached.
        first: share of the budget at n = 0.
        fails, diverges: sizes of replicate 0 that do.
        stop_after: probes after which Ctrl-C is pressed.
    """

    emc: float
    first: float = 0.005
    fails: tuple[int, ...] = ()
    diverges: tuple[int, ...] = ()
    stop_after: int | None = None
    name: str = "oracle"
    trained: list[Probe] = field(default_factory=list)
    waiting: list[Probe] = field(default_factory=list)

    def __call__(self, setups: Mapping[str, Setup], *_: Any) -> StepsOracle:
        (self.setup,) = setups.values()
        return self

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        assert not ahead, "a climb asks nothing ahead of need"
        self.waiting.append(probe)

    def room(self) -> int:
        return 5

    def wants(self) -> int:
        return 1000

    def save(self) -> None:
        pass

    def close(self) -> None:
        pass

    def drop(self, probe: Probe) -> None:
        self.waiting.remove(probe)

    def running(self) -> list[RunningProbe]:
        return [RunningProbe(p.n, p.replicate, p.attempt, 0, 1, 10) for p in self.waiting]

    def advance(self) -> list[ProbeResult]:
        if len(self.trained) == self.stop_after:
            raise KeyboardInterrupt
        probe = self.waiting.pop(0)
        self.trained.append(probe)
        return [self._judge(probe)]

    def _judge(self, probe: Probe) -> ProbeResult:
        n, budget = probe.n, self.setup.budget(probe.n)
        share = self.first * math.exp(math.log(1 / self.first) * n / self.emc)
        verdict, steps = Verdict.FITTED, round(share * budget)
        if probe.replicate == 0 and n in self.diverges:
            verdict = Verdict.DIVERGED
        elif n > self.emc or (probe.replicate == 0 and n in self.fails):
            verdict, steps = Verdict.NOT_FITTED, budget
        evidence = Evidence.BUDGET if verdict is Verdict.NOT_FITTED else None
        sample_steps = steps * self.setup.batch_size(n)
        where = (probe.n, probe.replicate, probe.attempt)
        return ProbeResult(probe.key, *where, verdict, evidence, n, steps=steps, sample_steps=sample_steps, seconds=0.1)
