"""Kill a real measurement with SIGKILL again and again, let it finish, and compare with the undisturbed one.

python benchmarks/kill_resume.py --kills 20
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

COMMAND = [
    sys.executable, "-m", "emc", "measure", "--model", "mlp:width=8", "--data", "digits", "--labels", "random",
    "--min-steps", "3000", "--replicates", "4", "--quiet",
]  # fmt: skip


@click.command()
@click.option("--kills", default=20)
def main(kills: int) -> None:
    """Print whether the results are equal and how many probes were written to the journal twice."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = run(Path(folder) / "a")
        for kill in range(kills):
            process = start(Path(folder) / "b")
            before = len(lines(Path(folder) / "b.jsonl"))
            while process.poll() is None and len(lines(Path(folder) / "b.jsonl")) == before:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.5))  # somewhere in the next trainings
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f"kill {kill + 1}: {len(lines(Path(folder) / 'b.jsonl'))} verdicts acknowledged", flush=True)
        disturbed = run(Path(folder) / "b")
        keys = [json.loads(line)["key"] for line in lines(Path(folder) / "b.jsonl")]
        print(f"results equal up to timings: {strip(undisturbed) == strip(disturbed)}")
        print(
            f"verdicts {len(keys)}, written twice {len(keys) - len(set(keys))}; "
            f"EMC {undisturbed['emc']} and {disturbed['emc']}"
        )


def start(stem: Path) -> subprocess.Popen[bytes]:
    """Start the measurement with its journal and result beside `stem`."""
    outputs = ["--journal", f"{stem}.jsonl", "--json", f"{stem}.json"]
    return subprocess.Popen([*COMMAND, *outputs], stdout=subprocess.DEVNULL)


def run(stem: Path) -> dict:  # type: ignore[type-arg]
    """Let the measurement finish; its record."""
    if start(stem).wait() != 0:
        raise SystemExit("the measurement failed")
    return json.loads(Path(f"{stem}.json").read_text())  # type: ignore[no-any-return]


def lines(journal: Path) -> list[str]:
    """Complete lines of a journal."""
    return [line for line in journal.read_text().splitlines(True) if line.endswith("\n")] if journal.exists() else []


def strip(record):  # type: ignore[no-untyped-def]
    """The record without seconds."""
    if isinstance(record, dict):
        return {key: strip(value) for key, value in record.items() if key != "seconds"}
    return [strip(value) for value in record] if isinstance(record, list) else record


if __name__ == "__main__":
    main()
