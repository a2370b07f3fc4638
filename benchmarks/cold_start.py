"""Seconds from a command to its end, or to its first optimizer step, as a user waits for them: in real processes.

python benchmarks/cold_start.py              # ten of each
python benchmarks/cold_start.py --quick

The first step is taken as done when the journal holds its verdict: the measurement has one probe of one step, so what
comes on top is one exact count and one `fsync`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
from common import Report, Spread, json_option, quick_option

#: A measurement of one probe of one step.
ONE_STEP = ["--replicates", "1", "--n-start", "16", "--n-max", "16"] + [
    text for name in ("--min-steps", "--max-epochs", "--check-steps") for text in (name, "1")
]

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import torch'": ["-c", "import torch"],
    "emc --help": ["-m", "emc", "--help"],
    "emc list": ["-m", "emc", "list"],
}

#: Seconds between two looks at the journal.
LOOK_EVERY_S = 0.005


@click.command()
@click.option("--times", default=10)
@quick_option
@json_option
def main(times: int, quick: bool, json_path: Path | None) -> None:
    """Print the first run by itself, since it fills caches, then median, least and most of the others."""
    report = Report("cold_start", json_path, quick)
    times = 2 if quick else times
    timed: dict[str, Callable[[], float]] = {name: _ended(arguments) for name, arguments in COMMANDS.items()}
    timed["emc measure --labels random, first step"] = _first_step
    rows = []
    for name, seconds in timed.items():
        first = seconds()
        rows.append({"command": name, "first, s": first, "seconds": Spread.of(seconds() for _ in range(times))})
    report.table(f"Seconds of {times} runs", rows)


def _ended(arguments: list[str]) -> Callable[[], float]:
    def seconds() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - started

    return seconds


def _first_step() -> float:
    """Seconds until the journal holds a whole line."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.jsonl"
        command = [sys.executable, "-m", "emc", "measure", "--labels", "random", *ONE_STEP, "--journal", str(journal)]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (journal.exists() and journal.read_bytes().endswith(b"\n")):
            if process.poll() is not None:
                raise SystemExit("emc measure ended without a verdict")
            time.sleep(LOOK_EVERY_S)
        taken = time.perf_counter() - started
        process.wait()
    return taken


if __name__ == "__main__":
    main()
