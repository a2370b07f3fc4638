"""The usual protocol, written plainly: one training at a time, PyTorch's own modules, loader and fused optimizer.

It is the opponent of the other benchmarks, so it spares what a good practitioner would spare: gradients set to none,
counts in inference mode, one read from the device a count, no workers where they only cost. Samples, inits, budget,
schedule, stopping, the cadence of exact counts and what counts as fitted are emc's, and PyTorch's own shuffling
sampler, seeded like emc's stream, draws the same batches: verdicts differ from emc's by rounding only.

python benchmarks/reference.py               # what its choices cost: loader's workers, threads, optimizer
python benchmarks/reference.py --quick
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median_low
from typing import Any

import click
import torch
from cases import CASES, load_case
from common import Report, Spread, json_option, paired, quick_option, synchronise, threads
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from emc.api import Prepared
from emc.executors.cores import num_cores
from emc.results import Verdict
from emc.search.path import Bracket, Shown, search_path
from emc.seeds import batch_seed
from emc.specs import Probe
from emc.training.counting import CHUNK, is_right
from emc.training.losses import Loss, loss_of
from emc.training.run import ProbeRun, Stop
from emc.training.setup import Setup

Batches = Iterator[tuple[Tensor, Tensor]]

VERDICTS = {Stop.FITTED: Verdict.FITTED, Stop.DIVERGED: Verdict.DIVERGED}
SHOWN = {
    Verdict.FITTED: Shown.FITTED,
    Verdict.NOT_FITTED: Shown.NOT_FITTED,
    Verdict.DIVERGED: Shown.NOTHING,
}


@dataclass(frozen=True)
class Protocol:
    """How the reference trains.

    Attributes:
        loader: batches come from a `DataLoader`; else they are gathered from tensors on the device.
        workers: processes of the loader.
        fused: the optimizer's fused form.
    """

    loader: bool = True
    workers: int = 0
    fused: bool = True


@dataclass(frozen=True)
class Trained:
    """One probe's verdict and cost."""

    n: int
    replicate: int
    verdict: Verdict
    correct: int
    steps: int
    sample_steps: int


@dataclass(frozen=True)
class Measured:
    """An EMC by the reference: the lower median of the replicates' brackets, with what it took."""

    emc: int
    brackets: tuple[Bracket, ...]
    probes: tuple[Trained, ...]


def reference_probes(
    ready: Prepared, probes: Iterable[Probe], protocol: Protocol | None = None
) -> tuple[list[Trained], float]:
    """Train probes one after the other; with the seconds it took."""
    protocol = Protocol() if protocol is None else protocol
    started = time.perf_counter()
    trained = [train_probe(ready.setup, probe, protocol) for probe in probes]
    return trained, time.perf_counter() - started


def reference_measure(ready: Prepared, protocol: Protocol | None = None) -> tuple[Measured, float]:
    """Growth and bisection, one replicate after the other; with the seconds it took."""
    protocol = Protocol() if protocol is None else protocol
    started = time.perf_counter()
    trained: list[Trained] = []
    brackets = [_search(ready, replicate, protocol, trained) for replicate in range(ready.measurement.replicates)]
    measured = Measured(median_low(bracket.lower for bracket in brackets), tuple(brackets), tuple(trained))
    return measured, time.perf_counter() - started


def _search(ready: Prepared, replicate: int, protocol: Protocol, trained: list[Trained]) -> Bracket:
    path = search_path(ready.measurement.search, *ready.measurement.search.sizes)
    ask, base = next(path), ready.base
    while True:
        trained.append(train_probe(ready.setup, Probe(base, ask.n, replicate, ask.attempt), protocol))
        try:
            ask = path.send(SHOWN[trained[-1].verdict])
        except StopIteration as stop:
            bracket: Bracket = stop.value
            return bracket


def train_probe(setup: Setup, probe: Probe, protocol: Protocol) -> Trained:
    """One fresh training to its verdict; a failure is not examined."""
    run = ProbeRun(setup, probe)  # budget, schedule and stopping, told only the counts
    X, y = setup.samples(probe).first(probe.n)
    module = setup.fresh_model(probe).train()
    optimizer = _optimizer(setup, module, protocol)
    batches = _loaded(X, y, run, protocol) if protocol.loader else _resident(X, y, run)
    while run.stop is None:
        steps = min(run.check_every, run.budget - run.steps)
        for group in optimizer.param_groups:
            group["lr"] = setup.plan.lr * run.multiplier
        for inputs, labels in islice(batches, steps):
            optimizer.zero_grad(set_to_none=True)
            loss_of(setup.loss, module(inputs), labels).backward()
            optimizer.step()
        run.did(steps)
        run.count(*_count(module, X, y, setup.loss))
    verdict = VERDICTS.get(run.stop, Verdict.NOT_FITTED)
    return Trained(run.n, probe.replicate, verdict, run.correct, run.steps, run.sample_steps)


def _optimizer(setup: Setup, module: nn.Module, protocol: Protocol) -> optim.Optimizer:
    options: dict[str, Any] = {"fused": True} if protocol.fused else {}
    return setup.plan.build(module.parameters(), **options)  # type: ignore[call-arg]


def _loaded(X: Tensor, y: Tensor, run: ProbeRun, protocol: Protocol) -> Batches:
    """Full batches of a shuffling loader, from one epoch on into the next."""
    probe, device = run.probe, X.device
    dataset = TensorDataset(X.cpu(), y.cpu())
    seed = batch_seed(run.setup.seed, probe.n, probe.replicate, probe.attempt)
    generator = torch.Generator().manual_seed(seed)
    sampler = RandomSampler(dataset, num_samples=run.budget * run.batch_size, generator=generator)
    loader = DataLoader(
        dataset, run.batch_size, sampler=sampler, num_workers=protocol.workers, pin_memory=device.type == "cuda"
    )
    for inputs, labels in loader:
        yield inputs.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def _resident(X: Tensor, y: Tensor, run: ProbeRun) -> Batches:
    """Batches gathered on the device by a permutation; all samples as they are where they are one batch."""
    while run.batch_size == run.n:
        yield X, y
    while True:
        for rows in run.batches.take(run.check_every).to(X.device):
            yield X.index_select(0, rows), y.index_select(0, rows)


@torch.inference_mode()
def _count(module: nn.Module, X: Tensor, y: Tensor, loss: Loss) -> tuple[int, float]:
    """Right answers and mean loss over all samples, in eval mode."""
    module.eval()
    both = torch.zeros(2, dtype=torch.float64, device=X.device)
    for inputs, labels in zip(X.split(CHUNK), y.split(CHUNK), strict=True):
        logits = module(inputs)
        both[0] += is_right(logits, labels).sum()
        both[1] += loss_of(loss, logits, labels, "sum")
    module.train()
    right, total = both.tolist()
    return int(right), total / len(y)


def best_threads(ready: Prepared, n: int, protocol: Protocol, steps: int = 100) -> int:
    """One thread or one a core, whichever trains some steps in less time; the better of two runs of each."""
    short = shortened(ready, steps)
    choices = sorted({1, num_cores()})
    seconds: dict[int, float] = {}
    for number in choices * 2:
        with threads(number):
            _, taken = reference_probes(short, [Probe(ready.base, n, 0)], protocol)
        seconds[number] = min(taken, seconds.get(number, taken))
    return min(choices, key=lambda number: seconds[number])


def shortened(ready: Prepared, steps: int) -> Prepared:
    """The same measurement with a budget of so many steps, none of which ends a training for lack of progress."""
    procedure = replace(ready.setup.procedure, min_steps=steps, max_epochs=1, stall_share=1.0)
    return replace(ready, setup=replace(ready.setup, procedure=procedure))


VARIANTS = {
    "loader, 0 workers": Protocol(),
    "loader, 1 worker": Protocol(workers=1),
    "loader, optimizer not fused": Protocol(fused=False),
    "resident": Protocol(loader=False),
    "resident, optimizer not fused": Protocol(loader=False, fused=False),
}


@click.command()
@click.option("--case", "letters", multiple=True, type=click.Choice(sorted(CASES)))
@click.option("--runs", default=5)
@quick_option
@json_option
def main(letters: tuple[str, ...], runs: int, quick: bool, json_path: Path | None) -> None:
    """Steps a second of the reference's variants, by case and number of threads."""
    report = Report("reference", json_path, quick, partial=bool(letters))
    rows = []
    for letter in letters or sorted(CASES):
        case = CASES[letter]
        ready = load_case(case, 50 if quick else case.steps // 2, stall_share=1.0)
        if ready is None:
            continue
        probe = Probe(ready.base, max(case.sizes), 0)
        timed = {
            (variant, number): partial(_rate, ready, probe, protocol, number)
            for variant, protocol in VARIANTS.items()
            for number in sorted({1, num_cores()})
        }
        found = paired(timed, 2 if quick else runs)
        rows += [
            {"case": letter, "reference": variant, "threads": number, "steps/s": Spread.of(rates)}
            for (variant, number), rates in found.items()
        ]
    report.table("Steps a second", rows)


def _rate(ready: Prepared, probe: Probe, protocol: Protocol, number: int, _run: int) -> float:
    with threads(number):
        (trained,), seconds = reference_probes(ready, [probe], protocol)
        synchronise()
    return trained.steps / seconds


if __name__ == "__main__":
    main()
