"""`--search threshold`: n50 from a posterior over (n50, slope, lapse), each probe where it says most for its cost.

Every probe is a fresh replicate, so verdicts are independent given the pool. First n grows (or falls) by the growth's
factor until a fit and a failure have been seen. Then whole batches are asked: probe by probe the size whose verdict
adds most information about n50 per sample-step it is expected to take. It ends when the credible interval is as narrow
as asked for. A batch is chosen only when the last one is complete, from results in the order they were asked, so
neither the order in which verdicts come nor an interruption changes what is asked.

References:
    Kontsevich and Tyler 1999, "Bayesian adaptive estimation of psychometric slope and threshold" (Psi).
    Watson 2017, "QUEST+: a general multidimensional Bayesian adaptive psychometric method".
    Waeber, Frazier and Henderson 2013, "Bisection search with noisy responses".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emc.estimators.base import Conclusion
from emc.results import ProbeResult, Status, Verdict
from emc.search.base import Ask
from emc.search.rules import ThresholdRule
from emc.specs import GROWTHS, Search
from emc.stats.psychometric import Posterior, Prior, Trials

Array = npt.NDArray[np.float64]

#: Sizes weighed for a batch are every second one of the posterior's grid, so that what they show is worked out once.
STRIDE = 2
#: They lie between these quantiles of n50, ...
REACH = (0.01, 0.99)
#: ... and as many expected slopes further.
REACH_SLOPES = 1.0


@dataclass(frozen=True)
class Costs:
    """What a probe is expected to take, in sample-steps, from those seen.

    A failure takes what failures took on average, whatever its size: its budget hardly changes over the sizes that
    matter. A fit takes what a straight line through the fits in log n and log cost says, rising with n and no more than
    a failure: fits take longer the nearer n is to n50.

    Attributes:
        failure: of a failure.
        level, rise: of a fit, exp(level + rise log n).
    """

    failure: float
    level: float
    rise: float

    @classmethod
    def of(cls, results: Iterable[ProbeResult]) -> Costs:
        """The costs by results that are evidence, of which there must be one."""
        seen = [(r.verdict, math.log(r.n), math.log(max(r.sample_steps, 1))) for r in results]
        fits = np.array([(n, cost) for verdict, n, cost in seen if verdict is Verdict.FITTED])
        failures = [math.exp(cost) for verdict, _, cost in seen if verdict is Verdict.NOT_FITTED]
        dearest = math.exp(max(cost for _, _, cost in seen))
        failure = float(np.mean(failures)) if failures else dearest
        if not len(fits):
            return cls(failure, math.log(failure), 0.0)
        away = fits[:, 0] - fits[:, 0].mean()
        spread = float(away @ away)
        rise = max(float(away @ fits[:, 1]) / spread, 0.0) if spread > 0 else 0.0
        return cls(failure, float(fits[:, 1].mean() - rise * fits[:, 0].mean()), rise)

    def expected(self, sizes: Sequence[int], fit_probability: Array) -> Array:
        """Expected sample-steps of a probe at each size, given how probably it fits, (len(sizes),)."""
        line = self.level + self.rise * np.log(np.asarray(sizes, dtype=float))
        fit = np.exp(np.minimum(line, math.log(self.failure)))
        return np.asarray(fit_probability * fit + (1 - fit_probability) * self.failure)


class ThresholdSearch:
    """The search and what it concludes: an `AskTell` and its own `Estimator`.

    Args:
        rule: its options.
        search: the sizes, resolved, the growth and the retries.
        confidence: of the credible interval.
    """

    def __init__(self, rule: ThresholdRule, search: Search, confidence: float) -> None:
        self._rule, self._retries, self._confidence = rule, search.retries, confidence
        self._n_start, self._n_max = search.sizes
        self._factor = GROWTHS.build(search.growth)[1]
        self._posterior = Posterior.after(Prior(n_max=self._n_max))
        self._results: list[ProbeResult] = []
        self._told: dict[Ask, ProbeResult] = {}
        self._mute = 0  # batches in a row without a verdict
        self._status: Status | None = None
        self._batch = self._number([min(self._n_start, self._n_max)])

    @property
    def searches(self) -> list[ThresholdSearch]:
        """What the engine drives."""
        return [self]

    @property
    def posterior(self) -> Posterior:
        """What is believed after the batches completed by now."""
        return self._posterior

    def ask(self, most: int = 1) -> list[Ask]:  # noqa: ARG002
        """What is missing of the batch; a batch is needed whole, so none of it is asked ahead of need."""
        return [ask for ask in self._batch if ask not in self._told]

    def tell(self, ask: Ask, result: ProbeResult) -> None:
        """Take in a result; with the last of a batch choose the next batch."""
        self._told[ask] = result
        if not self.ask():
            self._take([self._told[each] for each in self._batch])

    def bounds(self) -> tuple[int, int | None]:
        """The credible interval so far, rounded outwards; no upper end where it lies beyond the largest size."""
        low, high = self._posterior.interval(self._confidence)
        return math.floor(low), None if high > self._n_max else math.ceil(high)

    def status(self) -> Status | None:
        """How it ended; None while it goes on."""
        return self._status

    def conclude(self) -> Conclusion:
        """The median of n50 and its credible interval, or a lower bound where only that is known."""
        status = self._status or Status.INTERRUPTED
        low, high = self._posterior.interval(self._confidence)
        out_of_reach = status is Status.UNRESOLVED and high > self._n_max
        censored = status.right_censored or out_of_reach
        emc = self._emc(status, out_of_reach)
        method = f"posterior of n50 after {len(self._results)} probes"
        return Conclusion(
            emc=emc,
            censored=censored,
            status=status,
            lower=emc if censored else math.floor(low),
            upper=None if censored else math.ceil(high),
            interval=None if censored else (low, high),
            interval_method="only a lower bound is known, so the upper end is open" if censored else method,
            replicates=(),
            probes=tuple(self._results),
            detail=self._detail(),
        )

    def worst_paths(self) -> list[list[int]]:
        """Sizes of the probes of its dearest run: all it may ask, at the largest size."""
        growth = [self._n_start]
        while growth[-1] < self._n_max:
            growth.append(self._grown(growth[-1]))
        growth = growth[: self._rule.max_probes]
        return [growth + [self._n_max] * (self._rule.max_probes - len(growth))]

    def _number(self, sizes: Iterable[int]) -> list[Ask]:
        """Asks at sizes, each with a replicate that no ask had before."""
        return [Ask(n, replicate=len(self._results) + place) for place, n in enumerate(sizes)]

    def _take(self, results: list[ProbeResult]) -> None:
        """Learn from a complete batch; then end, or choose the next."""
        self._results += results
        verdicts = _trials(results)
        self._mute = 0 if verdicts else self._mute + 1
        self._posterior = self._posterior.update(verdicts)
        self._status = self._ended()
        self._batch = [] if self._status else self._number(self._next_sizes())

    def _next_sizes(self) -> list[int]:
        seen = [result for result in self._results if _is_evidence(result)]
        if not seen:
            return [self._results[-1].n]
        last = seen[-1]
        if len({result.verdict for result in seen}) == 1:  # growth: nothing but fits yet, or nothing but failures
            grown = self._grown(last.n) if last.verdict is Verdict.FITTED else self._shrunk(last.n)
            if grown != last.n:
                return [grown]
        return self._informative_sizes(
            Costs.of(seen), min(self._rule.batch, self._rule.max_probes - len(self._results))
        )

    def _grown(self, n: int) -> int:
        return min(max(n + 1, math.floor(n * self._factor)), self._n_max)

    def _shrunk(self, n: int) -> int:
        return max(min(n - 1, math.floor(n / self._factor)), 1)

    def _informative_sizes(self, costs: Costs, count: int) -> list[int]:
        """The sizes of a batch, one by one the most information about n50 per expected sample-step."""
        sizes = self._candidates()
        designer = self._posterior.designer(sizes)
        expected = costs.expected(sizes, designer.fit_probability())
        chosen = []
        for _ in range(count):
            best = int(np.argmax(designer.information() / expected))
            chosen.append(sizes[best])
            designer.take(best)
        return sorted(chosen)

    def _candidates(self) -> list[int]:
        low, high = (self._posterior.quantile(share) for share in REACH)
        reach = math.exp(REACH_SLOPES * self._posterior.means()["slope"])
        grid = np.exp(self._posterior.log_sizes[::STRIDE])
        near = [*grid[(low / reach <= grid) & (grid <= high * reach)], self._posterior.median]
        return sorted({min(max(round(n), 1), self._n_max) for n in near})

    def _ended(self) -> Status | None:
        if self._mute > self._retries:
            return Status.DIVERGED
        low, high = self._posterior.interval(self._confidence)
        if low >= self._n_max:
            return Status.CENSORED_ABOVE
        if high <= self._rule.width * low or high - low <= 1:
            status = self._resolved()
        elif len(self._results) >= self._rule.max_probes:
            status = Status.UNRESOLVED
        else:
            return None
        return Status.UNDERTRAINED if self._is_undertrained(high) else status

    def _resolved(self) -> Status:
        if self._posterior.median >= self._n_max:
            return Status.CENSORED_ABOVE
        return Status.CENSORED_BELOW if self._posterior.median < 1 else Status.RESOLVED

    def _is_undertrained(self, high: float) -> bool:
        """Whether the answer rests on failures that may be a lack of training.

        They are left out, as if nothing had been seen there; where the median of n50 then lies above the interval, n50
        is known from below only.
        """
        firm = [r for r in self._results if r.evidence is None or not r.evidence.undertrained]
        if len(firm) == len(self._results):
            return False
        return Posterior.after(self._posterior.prior, _trials(firm)).median > high

    def _emc(self, status: Status, out_of_reach: bool) -> int:
        """The median, or the interval's lower end where the posterior is unfinished or its upper end is the prior's."""
        if status is Status.CENSORED_BELOW:
            return 0
        unfinished = out_of_reach or status in (Status.INTERRUPTED, Status.DIVERGED)
        n50 = self._posterior.interval(self._confidence)[0] if unfinished else self._posterior.median
        return min(math.floor(n50), self._n_max)

    def _detail(self) -> dict[str, object]:
        failures = [result.key for result in self._results if result.verdict is Verdict.NOT_FITTED]
        found = {"posterior": self._summary()} if self._results else {}
        return {**found, "deciding": failures, "table": {"verdicts": self._verdicts_text()}}

    def _verdicts_text(self) -> str:
        kinds = Counter(result.verdict.value for result in self._results)
        counts = ", ".join(f"{kinds[verdict.value]} {verdict.value}" for verdict in Verdict if kinds[verdict.value])
        sizes = len({result.n for result in self._results})
        return f"{counts or 'none'} (fresh replicates at {sizes} {'size' if sizes == 1 else 'sizes'})"

    def _summary(self) -> dict[str, object]:
        means, ends = self._posterior.means(), self._posterior.parameter_intervals(self._confidence)
        low, high = self._posterior.interval(self._confidence)
        found = {name: {"mean": means[name], "interval": list(ends[name])} for name in means}
        n50 = {"median": self._posterior.median, "interval": [low, high]}
        return {"n50": n50, **found, "prior": self._posterior.prior.to_dict()}


def _is_evidence(result: ProbeResult) -> bool:
    return result.verdict in (Verdict.FITTED, Verdict.NOT_FITTED)


def _trials(results: Iterable[ProbeResult]) -> list[Trials]:
    """What results show; a diverged training shows nothing."""
    return [Trials(r.n, float(r.verdict is Verdict.FITTED), 1.0) for r in results if _is_evidence(r)]
