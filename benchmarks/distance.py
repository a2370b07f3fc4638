"""How far training is from the machine, by width and number of models at once, and what keeps it there.

python benchmarks/distance.py                # MLPs 64-width-10 on digits, widths 4 to 1,024, 1 to 32 at once
python benchmarks/distance.py --quick
python benchmarks/distance.py --threads 2    # of a trainer and of the large product it is held against

A rate is the difference of two runs of unequal length, so that setting up and ending do not count. The learning rate
is so small that nothing is ever fitted. A step's time is held against its parts, measured alone: what the same trainer
takes for the same operations on next to no numbers (width 1, batches of 2: Python, autograd and launches), gathering
the batch, the matrix products of both passes, activation and loss with their gradients, and the optimizer, these four
in stacks that amortise their launches. The largest part bounds the case; the rest is counts and traffic in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch
from common import Report, json_option, quick_option, synchronise, threads, train_sizes, trainers
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from emc.api import Prepared, prepare
from emc.errors import SpecError
from emc.specs import Execution, Measurement
from emc.training.setup import Setup

#: Samples of every training.
N = 512

#: Steps of the shorter run, unless a single pass over the samples takes more.
SHORT = 20

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


@dataclass(frozen=True)
class Step:
    """What a step of one model costs a trainer at least: operations dispatched, and seconds on next to no numbers."""

    operations: float
    least_s: float


class Operations(TorchDispatchMode):
    """Counts what PyTorch dispatches in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
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
    report = Report("distance", json_path, quick, partial=bool(names))
    widths, counts = ((4, 64), (1, 8)) if quick else ((4, 16, 64, 256, 1024), (1, 8, 32))
    with threads(number):
        limits = Limits(product_flops(), operation_seconds())
        facts = {"threads": number, "GFLOP/s of a product": limits.flops / 1e9}
        report.table("The machine", [{**facts, "an empty operation, us": limits.operation_s * 1e6}])
        rows: list[dict[str, Any]] = []
        for name in names or trainers():
            for at_once in counts:
                if name != "single" or at_once <= number:  # it trains no more than that at once
                    rows += _rows(name, widths, at_once, limits, 0.1 if quick else target)
        report.table("By trainer, number at once and width", rows)


def _rows(name: str, widths: Sequence[int], at_once: int, limits: Limits, target: float) -> list[dict[str, Any]]:
    """One trainer at some widths; none where it does not apply."""
    least = _ready(1, name, at_once, batch_size=2)
    if least is None:
        return []
    step = Step(operations_a_step(least, at_once), 1 / step_rate(least, at_once, target))
    held = [ready for width in widths if (ready := _ready(width, name, at_once)) is not None]
    return [_row(ready, width, at_once, limits, step, target) for ready, width in zip(held, widths, strict=True)]


def _ready(width: int, trainer: str, at_once: int, **settings: Any) -> Prepared | None:
    """An MLP with this trainer and PyTorch's number of threads; None where the trainer does not apply."""
    number = torch.get_num_threads()
    own = {"workers": number} if "workers" in Execution.__dataclass_fields__ else {}
    execution = Execution(trainer=trainer, stack=at_once, threads=number, **own)
    task = {"model": f"mlp:width={width}", "data": "digits", "labels": "random", "certify": "none"}
    still = {"optimizer": "adam:lr=1e-9", "max_epochs": 1, "stall_share": 1.0}
    ready = prepare(Measurement.from_flat({**task, **still, **settings}), execution=execution)
    try:
        ready.drive([])
    except SpecError:
        return None
    return ready


def _row(ready: Prepared, width: int, at_once: int, limits: Limits, step: Step, target: float) -> dict[str, Any]:
    rate = step_rate(ready, at_once, target)
    parts = {"launches": step.least_s, **part_seconds(ready.setup)}
    parts["the rest"] = max(0.0, 1 / rate - sum(parts.values()))
    flops = step_flops(ready.setup) * rate
    return {
        "trainer": ready.execution.trainer,
        "at once": at_once,
        "width": width,
        "steps/s": rate,
        "GFLOP/s": flops / 1e9,
        "of a product": f"{flops / limits.flops:.1%}",
        "operations a step": step.operations,
        "as empty ones, us": step.operations * limits.operation_s * 1e6,
        "a step, us": 1e6 / rate,
        **{f"{name}, us": seconds * 1e6 for name, seconds in parts.items()},
        "of the launch limit": f"{step.least_s * rate:.0%}",
        "bound by": max(parts, key=lambda name: parts[name]),
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
    """Steps a second of all models together, from the fastest of three runs of each length."""
    short, more = _short(ready), 2 * SHORT
    _run(ready, short, at_once)  # the first one compiles and warms caches
    base = min(_run(ready, short, at_once) for _ in range(3))
    while (longer := _run(ready, short + more, at_once) - base) < target:
        more *= min(20, max(2, int(1.2 * target / max(longer, 1e-3))))
    best = min(longer, *(_run(ready, short + more, at_once) - base for _ in range(2)))
    return more * at_once / best


def _short(ready: Prepared) -> int:
    return max(SHORT, -(-N // ready.setup.batch_size(N)))


def _run(ready: Prepared, steps: int, at_once: int) -> float:
    """Seconds to train so many models for so many steps."""
    procedure = replace(ready.setup.procedure, min_steps=steps)
    return train_sizes(replace(ready, setup=replace(ready.setup, procedure=procedure)), [N], at_once)[1]


def operations_a_step(ready: Prepared, at_once: int) -> float:
    """Operations that PyTorch dispatches in this thread for one step of one model."""
    numbers = []
    for more in (0, 100):
        with Operations() as operations:
            _run(ready, _short(ready) + more, at_once)
        numbers.append(operations.number)
    return (numbers[1] - numbers[0]) / (100 * at_once)


def layers(setup: Setup) -> list[tuple[int, int]]:
    """Inputs and outputs of each linear layer."""
    modules = setup.make_model().modules()
    return [(m.in_features, m.out_features) for m in modules if isinstance(m, torch.nn.Linear)]


def step_flops(setup: Setup) -> float:
    """FLOPs of products in a step: forward, the weights' gradients and, but for the first layer, the inputs'."""
    sizes = [inputs * outputs for inputs, outputs in layers(setup)]
    return 2.0 * setup.batch_size(N) * (3 * sum(sizes) - sizes[0])


def part_seconds(setup: Setup) -> dict[str, float]:
    """Seconds a model and step of each part alone, in a stack that amortises its launches."""
    parameters = sum(inputs * outputs + outputs for inputs, outputs in layers(setup))
    stack = max(1, min(MOST_AT_ONCE, PART_PARAMETERS // parameters))
    parts = {
        "gathering": _gathering(setup, stack),
        "arithmetic": _products(setup, stack),
        "activation and loss": _elementwise(setup, stack),
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


def _elementwise(setup: Setup, stack: int) -> Callable[[], Any]:
    """ReLU and cross-entropy with their gradients."""
    device, dtype, rows = setup.pool.device, setup.pool.dtype, stack * setup.batch_size(N)
    *widths, num_classes = [outputs for _, outputs in layers(setup)]
    hidden = [torch.randn(rows, width, device=device, dtype=dtype) for width in widths]
    logits = torch.randn(rows, num_classes, device=device, dtype=dtype, requires_grad=True)
    y = torch.randint(num_classes, (rows,), device=device)

    def elementwise() -> None:
        for values in hidden:
            torch.ops.aten.threshold_backward(values, torch.relu(values), 0)
        torch.autograd.grad(functional.cross_entropy(logits, y), logits)

    return elementwise


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
