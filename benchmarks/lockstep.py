"""Every trainer against the usual protocol: one fixed list of probes, and one measurement from end to end.

python benchmarks/lockstep.py                # four cases, five paired runs
python benchmarks/lockstep.py --quick        # two paired runs of 2 replicates
python benchmarks/lockstep.py --case a --trainer lockstep

A ratio is the plain reference's seconds over the trainer's in the same paired run. All train on the same samples,
inits and batches, so verdicts may differ by rounding only. The clock stops at a probe's verdict; failures are not
examined, save that emc asks the linear program about the linear model, and pays for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median_low
from typing import Any

import click
from cases import CASES, Case, load_case
from common import Report, Spread, json_option, paired, quick_option, synchronise, threads, train_sizes, trainers
from reference import Protocol, Trained, best_threads, reference_measure, reference_probes

from emc.api import Prepared
from emc.errors import SpecError
from emc.results import ProbeResult, Verdict
from emc.specs import Execution, Probe
from emc.stats.proportions import wilson

PLAIN, RESIDENT = "plain reference", "resident reference"
PROTOCOLS = {PLAIN: Protocol(), RESIDENT: Protocol(loader=False)}


@dataclass(frozen=True)
class Timed:
    """A list of probes trained by one method: verdicts by (replicate, n), optimizer steps, seconds."""

    verdicts: dict[tuple[int, int], Verdict]
    steps: int
    seconds: float

    @classmethod
    def of(cls, trained: Sequence[Trained] | Sequence[ProbeResult], seconds: float) -> Timed:
        """From what was trained."""
        verdicts = {(one.replicate, one.n): one.verdict for one in trained}
        return cls(verdicts, sum(one.steps for one in trained), seconds)

    @property
    def rate(self) -> float:
        """Steps a second, of all models together."""
        return self.steps / self.seconds


@dataclass(frozen=True)
class Plan:
    """What is run of a case."""

    case: Case
    runs: int
    replicates: int
    trainers: tuple[str, ...]
    stack: int
    quick: bool


@click.command()
@click.option("--case", "letters", multiple=True, type=click.Choice(sorted(CASES)))
@click.option("--trainer", "names", multiple=True, type=click.Choice(trainers()), help="default: all that apply")
@click.option("--runs", default=5, help="paired runs")
@click.option("--replicates", default=8)
@click.option("--stack", default=Execution().stack)
@click.option("--whole/--no-whole", default=True, help="the measurement from end to end")
@quick_option
@json_option
def main(
    letters: tuple[str, ...], names: tuple[str, ...], runs: int, replicates: int, stack: int, whole: bool, quick: bool,
    json_path: Path | None,
) -> None:  # fmt: skip
    """Print ratios of seconds and of step rates with their spread, equal verdicts, and both EMCs."""
    report = Report("lockstep", json_path, quick, partial=bool(letters or names) or not whole)
    measured: list[dict[str, Any]] = []
    for letter in letters or sorted(CASES):
        case = CASES[letter]
        few = (2, 2) if quick else (runs, replicates)
        plan = Plan(case, *few, names or tuple(trainers()), stack, quick)
        ready = load_case(case, case.steps, stall_share=1.0)
        if ready is None:
            continue
        number = {name: best_threads(ready, max(case.sizes), protocol) for name, protocol in PROTOCOLS.items()}
        report.table(_title(letter, plan, ready), list_rows(plan, ready, number))
        if whole:
            measured.append({"case": letter, **measured_row(plan, number[PLAIN])})
            report.table("From end to end, 2 replicates", measured)


def _title(letter: str, plan: Plan, ready: Prepared) -> str:
    sizes = ", ".join(map(str, plan.case.sizes))
    probes = f"{plan.replicates} replicates at n = {sizes}, up to {plan.case.steps:,} steps each"
    return f"({letter}) {plan.case.title} ({ready.dataset.facts.name}, {ready.parameters:,} parameters): {probes}"


def list_rows(plan: Plan, ready: Prepared, number: dict[str, int]) -> list[dict[str, Any]]:
    """The fixed list by every method, in paired runs; by the references with their numbers of threads."""
    methods: dict[str, Callable[[int], Timed]] = {
        name: partial(_by_reference, plan, ready, protocol, number[name]) for name, protocol in PROTOCOLS.items()
    }
    for name in plan.trainers:
        trained = _applying(plan, ready, name)
        if trained is not None:
            methods[f"emc {name}"] = partial(_by_emc, plan, trained)
            methods[f"emc {name}"](-1)  # a first run compiles and makes the samples
    found = paired(methods, plan.runs)
    return [_row(timed, found, name, number.get(name, "auto")) for name, timed in found.items()]


def _applying(plan: Plan, ready: Prepared, trainer: str) -> Prepared | None:
    """The case, on the same samples, with this trainer; None, and a sentence, where it cannot train the case."""
    ready = replace(ready, execution=Execution(trainer=trainer, stack=plan.stack))
    try:
        ready.drive([])
    except SpecError as error:
        print(f"{trainer} does not apply: {error}")
        return None
    return ready


def _by_reference(plan: Plan, ready: Prepared, protocol: Protocol, number: int, _run: int) -> Timed:
    probes = [Probe(ready.base, n, replicate) for replicate in range(plan.replicates) for n in plan.case.sizes]
    with threads(number):
        return Timed.of(*reference_probes(ready, probes, protocol))


def _by_emc(plan: Plan, ready: Prepared, _run: int) -> Timed:
    synchronise()
    return Timed.of(*train_sizes(ready, plan.case.sizes, plan.replicates))


def _row(timed: list[Timed], found: dict[str, list[Timed]], name: str, number: int | str) -> dict[str, Any]:
    plain, resident = found[PLAIN], found[RESIDENT]
    verdicts = timed[0].verdicts
    return {
        "trained by": name,
        "threads": number,
        "seconds": Spread.of(one.seconds for one in timed),
        "steps/s": Spread.of(one.rate for one in timed),
        "times the plain reference": Spread.of(p.seconds / one.seconds for p, one in zip(plain, timed, strict=True)),
        "times its step rate": Spread.of(one.rate / p.rate for p, one in zip(plain, timed, strict=True)),
        "times the resident one": Spread.of(r.seconds / one.seconds for r, one in zip(resident, timed, strict=True)),
        "fitted": f"{sum(verdict is Verdict.FITTED for verdict in verdicts.values())} of {len(verdicts)}",
        "verdicts other than the plain reference's": _flips(verdicts, plain[0].verdicts),
    }


def _flips(verdicts: dict[tuple[int, int], Verdict], others: dict[tuple[int, int], Verdict]) -> str:
    """How many verdicts differ, with Wilson's 95 % interval of the share."""
    number = sum(others[key] is not verdict for key, verdict in verdicts.items())
    low, high = wilson(number, len(verdicts), 0.95)
    return f"{number} ({low:.1%} to {high:.1%})"


def measured_row(plan: Plan, number: int) -> dict[str, Any]:
    """One measurement by the plain reference and by emc with everything on auto."""
    steps = plan.case.quick if plan.quick else plan.case.whole
    ready = load_case(plan.case, steps, replicates=2)
    again = load_case(plan.case, steps, replicates=2)  # whose samples are yet to be made, as the reference's are
    if ready is None or again is None:
        raise RuntimeError("the case's data went away")
    with threads(number):
        reference, reference_s = reference_measure(ready)
    started = time.perf_counter()
    result = again.run()
    seconds = time.perf_counter() - started
    return {
        "setting": f"{plan.case.title}, budget {steps:,} steps",
        "reference, s": reference_s,
        "emc, s": seconds,
        "ratio": reference_s / seconds,
        "trained by": result.versions["trainer"],
        "reference's EMC": f"{reference.emc} {_brackets(reference.brackets)}",
        "emc's EMC": f"{median_low(r.lower for r in result.replicates)} {_brackets(result.replicates)}",
        "reference's steps": sum(one.steps for one in reference.probes),
        "emc's steps": sum(probe.steps for probe in result.probes),
    }


def _brackets(found: Iterable[Any]) -> str:
    return "(" + ", ".join(f"{one.lower} to {one.upper}" for one in found) + ")"


if __name__ == "__main__":
    main()
