"""Lockstep against single, probe by probe: the share of verdicts that flip.

python benchmarks/agreement.py               # 200 probes: linear and MLP, three label regimes, adam and sgd
"""

from __future__ import annotations

import itertools

import click
from common import as_single, describe_machine, prepared, train, use_one_thread

from emc.results import ProbeResult, Verdict
from emc.specs import Probe

SETTINGS = [
    {"model": "mlp:width=16", "data": "digits", "sizes": (120, 160, 200, 250, 320)},
    {"model": "linear", "data": "gaussian:dim=20,size=2000", "classes": 2, "sizes": (34, 38, 42, 46, 50)},
]


@click.command()
@click.option("--replicates", default=4)
@click.option("--min-steps", default=2_000)
def main(replicates: int, min_steps: int) -> None:
    """Print the share of equal verdicts and every disagreement with both losses."""
    use_one_thread()
    print(describe_machine())
    equal = total = 0
    for setting, optimizer, labels in itertools.product(
        SETTINGS, ("adam", "sgd"), ("random", "noise:p=0.8", "shuffled")
    ):
        settings = {key: value for key, value in setting.items() if key != "sizes"}
        if settings["model"] == "linear" and labels == "shuffled":
            continue
        ready = prepared(**settings, labels=labels, optimizer=optimizer, min_steps=min_steps)
        probes = [Probe(ready.base, n, r) for n in setting["sizes"] for r in range(replicates)]
        stacked, stacked_s = train(ready, probes)
        single, single_s = train(as_single(ready), probes)
        same = 0
        for one, other in zip(stacked, single, strict=True):
            same += one.verdict is other.verdict
            if one.verdict is not other.verdict:
                print(f"  n={one.n}: lockstep {_describe(one)}; single {_describe(other)}")
                probe = Probe(ready.base, one.n, one.replicate)
                shorter = {**settings, "labels": labels, "optimizer": optimizer}
                print(f"    loss by step, lockstep / single: {_traces(shorter, probe, min_steps)}")
        seconds = f"lockstep {stacked_s:.1f} s, single {single_s:.1f} s"
        fitted = sum(result.verdict is Verdict.FITTED for result in stacked)
        name = f"{settings['model']} {optimizer} {labels}"
        print(f"{name}: {same} of {len(probes)} equal, {fitted} fitted; {seconds}", flush=True)
        equal, total = equal + same, total + len(probes)
    print(f"{equal} of {total} verdicts equal ({100 * equal / total:.1f} %)")


def _traces(settings: dict[str, object], probe: Probe, min_steps: int) -> str:
    """The loss after growing numbers of steps: a training with a smaller budget is the beginning of the larger one."""
    points = []
    for steps in (min_steps // 50, min_steps // 20, min_steps // 10, min_steps // 5, min_steps // 2, min_steps):
        ready = prepared(**settings, min_steps=steps, max_epochs=1, stall_share=1.0)
        (stacked,), _ = train(ready, [probe])
        (single,), _ = train(as_single(ready), [probe])
        points.append(f"{steps}: {stacked.loss:.5g} / {single.loss:.5g}")
    return ", ".join(points)


def _describe(result: ProbeResult) -> str:
    return f"{result.verdict.value} {result.correct} right, loss {result.loss:.4g}, {result.steps} steps"


if __name__ == "__main__":
    main()
