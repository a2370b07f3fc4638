"""EMC of every family, optimizer and reparameterisation at about equal size, with random and with semantic labels.

python benchmarks/families.py --journal families.jsonl                     # digits; continues where it was cut off
python benchmarks/families.py --journal cifar.jsonl --data cifar10         # five families, images from EMC_DATA
python benchmarks/families.py --quick                                      # three names, a tiny budget

One budget for all, far below the default, so many failures read `budget` and their EMC is a lower bound (>=): the table
says what each procedure reaches in so many steps, and how its failures end. It is no ranking of what they could reach.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from common import Report, json_option, quick_option

import emc
from emc.results import EmcResult
from emc.sweeping import SweepResult

#: The net that optimizers and reparameterisations are compared on.
NET = "mlp:width=40"

#: What varies, by group; all else is `BASE`. Sizes lie between 2,000 and 5,000 parameters where a family has one there.
DIGITS: dict[str, dict[str, dict[str, str]]] = {
    "family": {
        "linear": {"model": "linear"},
        "mlp": {"model": NET},
        "mlp_standard": {"model": "mlp_standard:width=32"},
        "mlp_bottleneck": {"model": "mlp_bottleneck:width=16"},
        "cnn": {"model": "cnn:width=8"},
        "cnn5": {"model": "cnn5:width=3"},
        "resnet": {"model": "resnet:width=4,blocks=2|2"},
        "resnet18k": {"model": "resnet18k:width=1"},
        "resnet_rs": {"model": "resnet_rs:width=4,blocks=1|1"},
        "efficientnet": {"model": "efficientnet:width=0.1,stages=3,divisor=1"},
        "vit": {"model": "vit:patch=4,dim=16,depth=1"},
        "mixer": {"model": "mixer:patch=4,dim=16,depth=1"},
    },
    "optimizer": {
        name: {"model": NET, "optimizer": optimizer}
        for name, optimizer in {
            "sgd": "sgd:lr=0.1",
            "gd": "gd:lr=0.1",
            "adamw": "adamw:weight_decay=0.01",
            "lbfgs": "lbfgs",
            "lion": "lion",
            "shampoo": "shampoo",
            "muon": "muon:ends=true",
            "sam": "sam:base=sgd,lr=0.1",
        }.items()
    },
    "reparameterisation": {
        "subspace": {"model": NET, "reparam": "subspace:dim=300"},
        "bf16": {"model": NET, "reparam": "precision:bf16"},
        "int4": {"model": NET, "reparam": "precision:int4"},
        "prune": {"model": NET, "reparam": "prune:fraction=0.5,rule=random"},
    },
}
CIFAR: dict[str, dict[str, dict[str, str]]] = {
    "family": {
        "cnn": {"model": "cnn:width=8"},
        "cnn5": {"model": "cnn5:width=3"},
        "resnet": {"model": "resnet:width=4,blocks=2|2,norm=group"},
        "vit": {"model": "vit:patch=8,dim=12,depth=1"},
        "mixer": {"model": "mixer:patch=8,dim=8,depth=2"},
    }
}

LABELS = ("random", "semantic")
BASE: dict[str, Any] = {
    "optimizer": "adam",
    "min_steps": 500,
    "max_epochs": 20,
    "batch_size": 64,
    "replicates": 3,
    "tolerance": 0.2,
    "polish_steps": 50,
}
QUICK: dict[str, Any] = {"min_steps": 100, "max_epochs": 2, "replicates": 2, "n_max": 64, "certify": "none"}


@click.command()
@click.option("--data", type=click.Choice(["digits", "cifar10"]), default="digits")
@click.option("--journal", type=click.Path(path_type=Path), help="file that keeps every verdict")
@click.option("--device", default="auto")
@click.option("--workers", type=int, help="processes and threads that train at once")
@click.option("--steps", type=int, help="budget of a probe, at least this many steps")
@click.option("--only", multiple=True, help="names to measure; default: all")
@quick_option
@json_option
def main(
    data: str,
    journal: Path | None,
    device: str,
    workers: int | None,
    steps: int | None,
    only: tuple[str, ...],
    quick: bool,
    json_path: Path | None,
) -> None:
    """Measure all cells in one sweep, then print one table a group."""
    groups = DIGITS if data == "digits" else CIFAR
    base = BASE | {"data": data} | (QUICK if quick else {}) | ({} if steps is None else {"min_steps": steps})
    named = [(group, name, own) for group, members in groups.items() for name, own in members.items()]
    named = [(group, name, own) for group, name, own in named if not only or name in only][: 3 if quick else None]
    cells = [base | own | {"labels": labels} for _, _, own in named for labels in LABELS]
    report = Report(f"families_{data}", json_path, quick, bool(only))
    print("# " + ", ".join(f"{key} {value}" for key, value in base.items()), flush=True)
    started = time.perf_counter()
    found = emc.sweep(as_sweep(cells), journal=journal, device=device, workers=workers)
    for group in groups:
        rows = [
            row(name, own, [found_of(found, 2 * place + number) for number in range(len(LABELS))])
            for place, (of, name, own) in enumerate(named)
            if of == group
        ]
        report.table(f"{data}, by {group}", rows)
    print(f"{len(cells)} cells, {time.perf_counter() - started:,.0f} s", flush=True)
    if found.interrupted:
        raise SystemExit(130)


def as_sweep(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Cells that share no axes: every setting that varies moves with all others."""
    names = sorted({name for cell in cells for name in cell})
    fixed = {name: cells[0][name] for name in names if all(cell.get(name) == cells[0].get(name) for cell in cells)}
    varying = {name: [cell.get(name, "none") for cell in cells] for name in names if name not in fixed}
    return {"name": "families", "base": fixed, "zip": [varying] if varying else []}


def found_of(found: SweepResult, number: int) -> EmcResult | str:
    """A cell's result, or why there is none."""
    cell = found.cells[number].number
    if cell in found.results:
        return found.results[cell]
    return str(found.failures[cell]) if cell in found.failures else "interrupted"


def row(name: str, own: Mapping[str, str], results: Sequence[EmcResult | str]) -> dict[str, Any]:
    """One procedure: its size, then what was found with each kind of labels."""
    sizes = next((result for result in results if isinstance(result, EmcResult)), None)
    told: dict[str, Any] = {
        "procedure": name,
        "settings": " ".join(value for value in own.values() if value),
        "parameters": None if sizes is None else sizes.parameters,
    }
    for labels, result in zip(LABELS, results, strict=True):
        if isinstance(result, str):
            told |= {f"{labels}: EMC": result, f"{labels}: replicates": "", f"{labels}: probes, s": ""}
            continue
        told[f"{labels}: EMC"] = f"{'>= ' if result.censored else ''}{result.emc:,}"
        each = " ".join(f"{'>=' if one.status.right_censored else ''}{one.emc}" for one in result.replicates)
        told[f"{labels}: replicates"] = f"{each} ({result.status.key})"
        told[f"{labels}: probes, s"] = f"{result.cost['probes']:,.0f}, {result.cost['seconds']:,.0f}"
    return told


if __name__ == "__main__":
    main()
