"""How far training is from the machine, by width and number of models at once, and what keeps it there.

python benchmarks/distance.py                # MLPs 64-width-10 on digits, widths 4 to 1,024, 1 to 32 at once
python benchmarks/distance.py --quick
python benchmarks/distance.py --threads 2    # of a trainer and of the large product it is held against

A rate is the difference of two runs of unequal length, so that setting up and ending do not count. The learning rate
is so small that nothing is ever fitted. A step's time is held against its parts, measured alone: gathering the batch,
the matrix products of both passes, the optimizer (these in stacks that amortise their launches), and as many empty
PyTorch operations as the trainer dispatches. The largest part bounds the case.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch
from common import Report, json_option, quick_option, synchronise, threads, train_sizes, trainers
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from emc.api import Prepared, prepare
from emc.errors import SpecError
from emc.specs import Execution, Measurement
from emc.training.setup import Setup

N = 512
#: Parameters of the stack in which a part is measured: enough to amortise launches, few enough for a cache.
PART_PARAMETERS = 2**18
MOST_AT_ONCE = 32
#: Side of the large square product.
PRODUCT = {"cpu": 2048, "cuda": 8192}


@dataclass(frozen=True)
class Limits:
    """What the machine reaches with these threads: FLOP/s of one large product, seconds of an empty operation."""

    flops: float
    operation_s: float


class Operations(TorchDispatchMode):
    """Counts what PyTorch dispatches in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ARG002
        """Count, then do it."""
        self.number += 1
        return function(*args, **(kwargs or {}))


@click.command()
@click.option("--threads", "number", default=1, help="of PyTorch, and a trainer's workers")
@click.option("--trainer", "names", multiple=True, type=click.Choice(trainers()), help="default: all that apply")
@click.option("--target", default=0.4, help="seconds a rate is measured for, at least")
@quick_option
@json_option
def main(number: int, names: tuple[str, ...], target: float, quick: bool, json_path: Path | None) -> None:
    """Print FLOP/s over a large product's, step rates over the launch limit, and what bounds each case."""
    report = Report("distance", json_path, quick)
    widths, counts = ((4, 64), (1, 8)) if quick else ((4, 16, 64, 256, 1024), (1, 8, 32))
    with threads(number):
        limits = Limits(product_flops(), operation_seconds())
        facts = {"threads": number, "GFLOP/s of a product": limits.flops / 1e9}
        report.table("The machine", [{**facts, "an empty operation, us": limits.operation_s * 1e6}])
        rows = []
        for width in widths:
            parts = None
            for name in names or trainers():
                for at_once in counts:
                    ready = _ready(width, name, at_once, number)
                    if ready is None:
                        continue
                    parts = part_seconds(ready.setup) if parts is None else parts
                    rows.append(_row(ready, width, at_once, limits, parts, 0.1 if quick else target))
        report.table("By width and number at once", rows)


def _ready(width: int, trainer: str, at_once: int, number: int) -> Prepared | None:
    """An MLP with this trainer; None where it does not apply."""
    own = {"workers": number} if "workers" in Execution.__dataclass_fields__ else {}
    execution = Execution(trainer=trainer, stack=at_once, threads=number, **own)
    settings = {"model": f"mlp:width={width}", "data": "digits", "labels": "random", "certify": "none"}
    still = {"optimizer": "adam:lr=1e-9", "max_epochs": 1, "stall_share": 1.0}
    ready = prepare(Measurement.from_flat(settings | still), execution=execution)
    try:
        ready.drive([])
    except SpecError:
        return None
    return ready


def _row(
    ready: Prepared, width: int, at_once: int, limits: Limits, parts: dict[str, float], target: float
) -> dict[str, Any]:
    rate = step_rate(ready, at_once, target)
    operations = operations_a_step(ready, at_once)
    per_step = {"launches": operations * limits.operation_s, **parts}
    per_step["the rest"] = max(0.0, 1 / rate - sum(per_step.values()))
    flops = step_flops(ready.setup) * rate
    return {
        "trainer": ready.execution.trainer,
        "width": width,
        "at once": at_once,
        "steps/s": rate,
        "GFLOP/s": flops / 1e9,
        "of a product": f"{flops / limits.flops:.1%}",
        "operations a step": operations,
        "of the launch limit": f"{per_step['launches'] * rate:.0%}",
        **{f"{name}, us": seconds * 1e6 for name, seconds in per_step.items()},
        "bound by": max(per_step, key=lambda name: per_step[name]),
    }


def product_flops(times: int = 5) -> float:
    """FLOP/s of one large float32 product, the best of some."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    side = PRODUCT[device]
    A = torch.randn(side, side, device=device)
    return 2 * side**3 / min(_seconds(lambda: A @ A, 1) for _ in range(times + 1))


def operation_seconds() -> float:
    """Seconds of an operation on one number."""
    x = torch.zeros(1, device="cuda" if torch.cuda.is_available() else "cpu")
    return min(_seconds(lambda: x.add_(0), 5_000) for _ in range(5))


def _seconds(function: Callable[[], Any], times: int) -> float:
    synchronise()
    started = time.perf_counter()
    for _ in range(times):
        function()
    synchronise()
    return (time.perf_counter() - started) / times


def step_rate(ready: Prepared, at_once: int, target: float) -> float:
    """Steps a second of all models together."""
    short, steps = 100, 300
    _run(ready, short, at_once)  # the first one compiles and warms caches
    base = _run(ready, short, at_once)
    while True:
        longer = _run(ready, steps, at_once) - base
        if longer >= target:
            return (steps - short) * at_once / longer
        steps = short + min(20, max(2, int(1.2 * target / max(longer, 1e-3)))) * (steps - short)


def _run(ready: Prepared, steps: int, at_once: int) -> float:
    """Seconds to train so many models for so many steps."""
    procedure = replace(ready.setup.procedure, min_steps=steps)
    return train_sizes(replace(ready, setup=replace(ready.setup, procedure=procedure)), [N], at_once)[1]


def operations_a_step(ready: Prepared, at_once: int) -> float:
    """Operations that PyTorch dispatches for one step of one model, counts of right answers among them."""
    numbers = []
    for steps in (100, 300):
        with Operations() as operations:
            _run(ready, steps, at_once)
        numbers.append(operations.number)
    return (numbers[1] - numbers[0]) / (200 * at_once)


def layers(setup: Setup) -> list[tuple[int, int]]:
    """Inputs and outputs of each linear layer."""
    modules = setup.make_model().modules()
    return [(m.in_features, m.out_features) for m in modules if isinstance(m, torch.nn.Linear)]


def step_flops(setup: Setup) -> float:
    """FLOPs of a step: products of the forward pass, the weights' gradients and, but for the first layer, the inputs'."""
    sizes = [inputs * outputs for inputs, outputs in layers(setup)]
    return 2.0 * setup.batch_size(N) * (3 * sum(sizes) - sizes[0])


def part_seconds(setup: Setup) -> dict[str, float]:
    """Seconds a model and step of each part alone, in a stack that amortises its launches."""
    parameters = sum(inputs * outputs + outputs for inputs, outputs in layers(setup))
    stack = max(1, min(MOST_AT_ONCE, PART_PARAMETERS // parameters))
    parts = {
        "gathering": _gathering(setup, stack),
        "arithmetic": _products(setup, stack),
        "optimizer": _optimizer(setup, stack, parameters),
    }
    return {name: min(_seconds(part, 50) for _ in range(5)) / stack for name, part in parts.items()}


def _gathering(setup: Setup, stack: int) -> Callable[[], Any]:
    device, size = setup.pool.device, setup.batch_size(N)
    store = torch.randn(N, layers(setup)[0][0], device=device, dtype=setup.pool.dtype)
    rows = torch.randint(N, (stack * size,), device=device)
    return lambda: store.index_select(0, rows)


def _products(setup: Setup, stack: int) -> Callable[[], Any]:
    device, dtype, size = setup.pool.device, setup.pool.dtype, setup.batch_size(N)
    pairs: list[tuple[Tensor, Tensor]] = []
    for place, (inputs, outputs) in enumerate(layers(setup)):
        X = torch.randn(stack, size, inputs, device=device, dtype=dtype)
        W = torch.randn(stack, inputs, outputs, device=device, dtype=dtype)
        D = torch.randn(stack, size, outputs, device=device, dtype=dtype)
        pairs += [(X, W), (X.transpose(1, 2), D)] + ([(D, W.transpose(1, 2))] if place else [])
    held = [(left, right, torch.bmm(left, right)) for left, right in pairs]

    def products() -> None:
        for left, right, out in held:
            torch.bmm(left, right, out=out)

    return products


def _optimizer(setup: Setup, stack: int, parameters: int) -> Callable[[], Any]:
    rule = setup.plan.rule
    if rule is None:
        raise RuntimeError("the optimizer has no stacked rule")
    flat = torch.randn(stack, parameters, device=setup.pool.device, dtype=setup.pool.dtype)
    gradient, state = torch.randn_like(flat), rule.init(flat)
    rates = flat.new_full((stack, 1), 1e-9)
    return lambda: rule.step(flat, gradient, state, rates)


if __name__ == "__main__":
    main()
