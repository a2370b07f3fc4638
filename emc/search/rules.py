"""How a search chooses its sizes, by name: each rule with its options, and the settings it cannot honour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from emc.errors import SpecError
from emc.registry import Registry
from emc.specs import GROWTHS, Measurement, Search, option_name


class SearchRule(Protocol):
    """A kind of search with its options; `emc.estimators` makes the searches."""

    def check(self, measurement: Measurement) -> None:
        """Refuse settings that it cannot honour.

        Raises:
            SpecError: there is one.
        """
        ...


#: How n is chosen and what is concluded.
SEARCHES: Registry[SearchRule] = Registry("search")


@dataclass(frozen=True)
class BisectionRule:
    """Growth and bisection, once a replicate; it has no options of its own."""

    def check(self, measurement: Measurement) -> None:
        """All settings of a search are its own."""


@SEARCHES.register("bisection")
def _bisection() -> BisectionRule:
    """Growth and bisection by every replicate; the EMC is their median."""
    return BisectionRule()


#: What bisection takes and this search has no use for.
_FOREIGN = ("tolerance", "sections", "attempts", "verify")


@dataclass(frozen=True)
class ThresholdRule:
    """The options of the search.

    Attributes:
        width: ends when the credible interval's upper end is at most this many times its lower.
        batch: probes asked at once.
        max_probes: ends after so many probes, whatever the interval.
    """

    width: float
    batch: int
    max_probes: int

    def __post_init__(self) -> None:
        if not 1.001 <= self.width <= 4:
            raise SpecError(f"search threshold needs a width between 1.001 and 4, got {self.width}")
        for name in ("batch", "max_probes"):
            if not 1 <= getattr(self, name) <= 100_000:
                raise SpecError(f"search threshold needs {name} between 1 and 100,000, got {getattr(self, name)}")

    def check(self, measurement: Measurement) -> None:
        """Refuse what only bisection has a use for."""
        search = measurement.search
        if GROWTHS.build(search.growth)[0] != "geometric":
            raise SpecError(
                f"--search threshold estimates n50 and grows by a factor, got --growth {search.growth}; leave it out"
            )
        if search.goal.kind == "error":
            raise SpecError(
                f"--search threshold asks where half of fresh trainings fit, got --criterion {search.criterion}, a "
                "mean over trainings; use --search bisection"
            )
        values = [(name, getattr(search, name), getattr(Search(), name)) for name in _FOREIGN]
        values.append(("replicates", measurement.replicates, Measurement().replicates))
        for name, value, default in values:
            if value != default:
                raise SpecError(
                    f"--search threshold takes no {option_name(name)}, since every probe is a fresh replicate and "
                    f"its width says when to stop, got {value}; leave it out, or use --search bisection"
                )


@SEARCHES.register("threshold")
def _threshold(*, width: float = 1.1, batch: int = 8, max_probes: int = 400) -> ThresholdRule:
    """A posterior of n50 over fresh probes, until its interval's ends are within a factor `width`."""
    return ThresholdRule(width, batch, max_probes)
