"""Whether the fast trainers change what is measured: verdicts that flip, and the EMC's distribution.

python benchmarks/agreement.py               # 1,080 probes by each trainer, then float64, then 40 replicates
python benchmarks/agreement.py --quick

Trainers sum in different orders, so their float32 losses part by rounding, and a training near its EMC may end either
way. How often that is allowed is itself measured: two trainings by one trainer whose inits are perturbed by 1e-7 of
their size, each with its own noise.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from common import Report, json_option, prepared, quick_option, train, use_one_thread
from torch import nn

from emc.api import Prepared
from emc.comparison import compare
from emc.results import Evidence, ProbeResult, Verdict
from emc.specs import Execution, Probe
from emc.stats.proportions import wilson

#: Model, data and budget; the first of its trainers is the fastest.
MODELS: dict[str, dict[str, Any]] = {
    "linear": {"data": "breast_cancer", "min_steps": 1_000, "trainers": ("compiled", "lockstep")},
    "mlp:width=8": {"data": "digits", "min_steps": 1_000, "trainers": ("compiled", "lockstep")},
    "cnn:width=4": {"data": "digits", "min_steps": 200, "trainers": ("compiled", "lockstep")},
}
OPTIMIZERS = ("adam", "adamw:weight_decay=0.01", "sgd", "gd")
LABELS = ("random", "shuffled", "noise:p=0.8")

#: Sizes by the EMC.
AROUND = (0.75, 0.88, 1.0, 1.15, 1.33)

#: Size of the perturbation of an init, relative to each parameter.
NOISE = 1e-7

#: Two settings whose EMC's distribution is compared, 40 replicates each.
WHOLE = (
    {"model": "linear", "data": "gaussian:dim=20,size=2000", "classes": 2, "min_steps": 5_000},
    {"model": "mlp:width=4", "data": "digits", "min_steps": 2_000},
)


@dataclass(frozen=True)
class Setting:
    """One model, optimizer and label regime with the probes around its EMC."""

    name: str
    settings: dict[str, Any]
    trainers: tuple[str, ...]
    sizes: tuple[int, ...]

    def verdicts(self, trainer: str, replicates: int, noise: int | None = None, **more: Any) -> list[ProbeResult]:
        """All its probes by one trainer, their inits perturbed with a seed of noise where one is given."""
        ready = prepared(trainer, **self.settings, **more)
        if noise is not None:
            setup = replace(ready.setup, make_model=partial(_perturbed, ready.setup.make_model, noise))
            ready = replace(ready, setup=setup)
        return train(ready, [Probe("study", n, r) for n in self.sizes for r in range(replicates)])[0]


def _perturbed(make_model: Callable[[], nn.Module], noise: int) -> nn.Module:
    """A fresh init times 1 + 1e-7 z, z standard normal."""
    module = make_model()
    generator = torch.Generator().manual_seed(noise)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter *= 1 + NOISE * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module


def settings(models: Sequence[str], quick: bool) -> Iterator[Setting]:
    """Every model, optimizer and label regime, with sizes around the EMC measured at the same budget."""
    for model, optimizer, labels in itertools.product(models, OPTIMIZERS, LABELS):
        facts = MODELS[model]
        if quick and (optimizer not in OPTIMIZERS[::2] or labels != "random"):
            continue
        chosen = {key: value for key, value in facts.items() if key != "trainers"}
        chosen |= {"model": model, "optimizer": optimizer, "labels": labels, "max_epochs": 1, "polish_steps": 50}
        found = prepared(**chosen, replicates=2, tolerance=0.2).run()
        sizes = sorted({max(round(found.emc * share), 2) for share in AROUND})
        yield Setting(f"{model} {optimizer} {labels}", chosen, facts["trainers"], tuple(sizes))


class Flips:
    """Pairs of verdicts on the same probes, counted by what was compared."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._apart: dict[str, list[float]] = {}

    def add(self, what: str, first: Sequence[ProbeResult], second: Sequence[ProbeResult]) -> int:
        """Count two lists of verdicts; how many flipped."""
        pairs = list(zip(first, second, strict=True))
        flipped = sum(one.verdict is not other.verdict for one, other in pairs)
        proved = sum(Verdict.FITTED in (a.verdict, b.verdict) and _infeasible(a, b) for a, b in pairs)
        near = [one.n for one, other in pairs if one.verdict is Verdict.FITTED or other.verdict is Verdict.FITTED]
        row = self._counts.setdefault(what, [0, 0, 0, 0])
        for place, number in enumerate((len(pairs), len(near), flipped, proved)):
            row[place] += number
        losses = [(a.loss, b.loss) for a, b in pairs if a.steps == b.steps and a.loss and b.loss]
        self._apart.setdefault(what, []).extend(abs(a - b) / b for a, b in losses)
        return flipped

    def rows(self) -> list[dict[str, Any]]:
        """One row a comparison."""
        rows = []
        for what, (pairs, fitted, flipped, proved) in self._counts.items():
            low, high = wilson(flipped, pairs, 0.95)
            share = {"flipped": flipped, "share": f"{flipped / pairs:.2%}", "95 % bound": f"{low:.2%} to {high:.2%}"}
            apart = sorted(self._apart[what]) or [0.0]
            losses = {"losses apart, median": apart[len(apart) // 2], "largest": apart[-1]}
            told = {"compared": what, "probes": pairs, "fitted by either": fitted, **share, "infeasible": proved}
            rows.append({**told, **losses})
        return rows


def _infeasible(*results: ProbeResult) -> bool:
    return any(result.evidence is Evidence.INFEASIBLE for result in results)


@click.command()
@click.option("--replicates", default=6)
@click.option("--whole-replicates", default=40, help="of the measurements compared; 0 compares none")
@click.option("--model", "models", multiple=True, type=click.Choice(list(MODELS)), default=list(MODELS))
@quick_option
@json_option
def main(replicates: int, whole_replicates: int, models: tuple[str, ...], quick: bool, json_path: Path | None) -> None:
    """Print the share of flipped verdicts with its bound, the noise's own, and the EMCs' ratio."""
    use_one_thread()
    report = Report("agreement", json_path, quick)
    flips, exact, each = Flips(), Flips(), []
    for setting in settings(models, quick):
        each.append(_compare(setting, 2 if quick else replicates, flips, exact))
        print(f"# {each[-1]}", flush=True)
    report.table("Flipped verdicts by setting", each)
    report.table("Flipped verdicts, float32", flips.rows())
    report.table("Flipped verdicts, float64", exact.rows())
    if whole_replicates:
        count = 6 if quick else whole_replicates
        report.table("The EMC's distribution", [_distribution(whole, count) for whole in WHOLE])


def _compare(setting: Setting, replicates: int, flips: Flips, exact: Flips) -> dict[str, Any]:
    """All comparisons of one setting."""
    single = setting.verdicts("single", replicates)
    model = setting.name.split()[0]
    fitted = f"{sum(one.verdict is Verdict.FITTED for one in single)} of {len(single)}"
    row: dict[str, Any] = {"setting": setting.name, "sizes": ", ".join(map(str, setting.sizes)), "fitted": fitted}
    row |= dict.fromkeys(("compiled", "lockstep", "noise", "float64"))
    for trainer in setting.trainers:
        found = setting.verdicts(trainer, replicates)
        row[trainer] = flips.add(f"{trainer} with single, {model}", found, single)
        flips.add(f"{trainer} with single", found, single)
    noisy = [setting.verdicts(setting.trainers[0], replicates, noise) for noise in (1, 2)]
    row["noise"] = flips.add(f"two seeds of noise, {model}", *noisy)
    flips.add("two seeds of noise", *noisy)
    other = "single" if model.startswith("cnn") else "lockstep"  # the quicker one
    doubles = [setting.verdicts(name, replicates, precision="float64") for name in ("compiled", other)]
    row["float64"] = exact.add(f"compiled with {other}, {model}", *doubles)
    return row


def _distribution(whole: dict[str, Any], replicates: int) -> dict[str, Any]:
    """The EMC of the same replicates by two trainers."""
    results = [_measured(whole, trainer, replicates) for trainer in ("compiled", "single")]
    comparison = compare(*results)
    pairs = list(zip(results[0].replicates, results[1].replicates, strict=True))
    low, high = comparison.interval
    return {
        "setting": f"{whole['model']} on {whole['data']}, {whole['min_steps']:,} steps",
        "replicates": replicates,
        "EMC compiled": results[0].emc,
        "EMC single": results[1].emc,
        "equal brackets": sum((a.lower, a.upper) == (b.lower, b.upper) for a, b in pairs),
        "ratio": comparison.ratio,
        "95 % interval": f"{low:.3g} to {high:.3g}",
        "p": comparison.p_value,
        "conclusion": comparison.verdict.key,
    }


def _measured(whole: dict[str, Any], trainer: str, replicates: int) -> Any:
    ready: Prepared = prepared(trainer, **whole, labels="random", max_epochs=1, replicates=replicates)
    return replace(ready, execution=Execution(trainer=trainer)).run()


if __name__ == "__main__":
    main()
