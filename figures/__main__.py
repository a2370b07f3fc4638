"""Measure, draw and table every study of a scale: `python -m figures --scale cpu`."""

from __future__ import annotations

import gzip
import importlib
import json
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

import emc
from figures.scales import SCALES, Scale

#: In the order they are measured: those that others share cells with first.
STUDIES = (
    "labels", "generalisation", "architectures", "scaling", "datasets", "classes", "activations", "power_laws", "steps",
    "curves", "budget", "protocol", "double_descent", "optimizers", "flatness", "regularisers", "reparameterisation",
)  # fmt: skip

HERE = Path(__file__).parent


@click.command()
@click.option("--scale", type=click.Choice(list(SCALES)), default="cpu", show_default=True)
@click.option("--study", "names", type=click.Choice(STUDIES), multiple=True, help="only these; default: all")
@click.option("--out", type=click.Path(path_type=Path), help="folder of journal, pictures and tables [figures/SCALE]")
@click.option("--journal", type=click.Path(path_type=Path), help="journal to add to [OUT/journal.jsonl]")
@click.option("--device", default="auto", show_default=True)
@click.option("--minutes", type=float, help="stop after so long; the same command continues")
@click.option("--with-data", is_flag=True, help="also the datasets that lie under EMC_DATA")
def main(
    scale: str,
    names: tuple[str, ...],
    out: Path | None,
    journal: Path | None,
    device: str,
    minutes: float | None,
    with_data: bool,
) -> None:
    """Measure the cells of studies into a journal; what it holds already is not trained anew."""
    size = SCALES[scale] if not with_data else SCALES[scale].with_data()
    folder = out or HERE / scale
    folder.mkdir(parents=True, exist_ok=True)
    journal = journal or folder / "journal.jsonl"
    packed = folder / "journal.jsonl.gz"
    if not journal.exists() and packed.exists():
        with gzip.open(packed) as source, journal.open("wb") as target:
            shutil.copyfileobj(source, target)
    if minutes is not None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    for name in names or STUDIES:
        if not measure(name, size, journal, device, folder / "times.json"):
            print(f"{name}: interrupted; the same command continues", file=sys.stderr)
            return


def measure(name: str, scale: Scale, journal: Path, device: str, times: Path) -> bool:
    """Run what a study asks for; whether it came to its end."""
    study = importlib.import_module(f"figures.{name}")
    started, processor = time.monotonic(), time.process_time()
    trained: dict[str, float] = {"probes": 0, "steps": 0, "seconds": 0.0}
    for sweep in study.sweeps(scale):
        found = emc.sweep(sweep, journal=journal, device=device)
        for failure in found.failures.values():
            print(f"{name}: {failure}", file=sys.stderr)
        trained = {key: value + found.cost[key] for key, value in trained.items()}
        if found.interrupted:
            return False
    for given in getattr(study, "curves", lambda _: ())(scale):
        curve = emc.curve(**given, journal=journal, device=device)
        if curve.interrupted:
            return False
    seconds = time.monotonic() - started
    note_time(
        times,
        name,
        {"wall_s": round(seconds, 1), "trained": trained, "processor_s": round(time.process_time() - processor, 1)},
    )
    print(f"{name}: {seconds:.0f} s, {trained['probes']:.0f} probes trained", flush=True)
    return True


def note_time(path: Path, name: str, took: Mapping[str, Any]) -> None:
    """Keep what a study took, the longest run of it."""
    known = json.loads(path.read_text()) if path.exists() else {"machine": machine(), "studies": {}}
    before = known["studies"].get(name)
    if before is None or before["wall_s"] < took["wall_s"]:
        known["studies"][name] = dict(took)
    path.write_text(json.dumps(known, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """What the numbers were made on."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "emc": emc.__version__,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
