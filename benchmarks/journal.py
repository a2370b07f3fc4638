"""The journal at scale: opening, finding, checking and compacting a million verdicts, and appending by many processes.

python benchmarks/journal.py                  # 10,000, 100,000 and 1,000,000 verdicts; 1 to 8 processes
python benchmarks/journal.py --quick          # fewer of both

Everything is measured in fresh processes that import numpy and the journal only. The file was just written, so it comes
from the page cache. Peak memory is the process's own maximum (`VmHWM`; `ru_maxrss` would be its parent's too); its
value before the journal was opened stands beside it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from common import Report, Spread, json_option, quick_option

from emc.journal.lines import encode_probe
from emc.results import Evidence, ProbeResult, Verdict

SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (1_000, 10_000)
PROCESSES, QUICK_PROCESSES = (1, 2, 4, 8), (1, 2)
LOOK_UPS = 20_000

#: As long as that of a failure that was examined.
DETAIL = {
    "stop": "stalled", "lr": 1e-3, "batch_size": 128, "budget": 25_000, "gain": 1.234567e-4, "polish_loss": 0.123456789,
    "polish_gain": 1.5e-5, "doubled_at": 12_500, "final_lr": 1.2345e-5, "trainer": "lockstep",
}  # fmt: skip

MEASURE = """
import hashlib, json, random, re, sys, time
from emc.journal import Journal, check, compact, read

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024 / 1e6

def timed(work):
    started = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - started[0], time.process_time() - started[1]

def key(number):
    return hashlib.sha256(str(number).encode()).hexdigest()[:24]

def opening(path, count, look_ups):
    journal, seconds, processor = timed(lambda: Journal(path))
    assert len(journal) == count
    opened = peak()
    known = [key(random.randrange(count)) for _ in range(look_ups)]
    found, known_s, _ = timed(lambda: sum(journal.get(each) is not None for each in known))
    missing, unknown_s, _ = timed(lambda: sum(journal.get(each[::-1]) is None for each in known))
    assert found == missing == look_ups
    return {"seconds": seconds, "processor s": processor, "peak MB": opened, "get/s, known": look_ups / known_s,
            "get/s, unknown": look_ups / unknown_s, "peak MB after": peak()}

def whole(path, count):
    rows = {}
    for name, work in (("check", lambda: check(path)), ("compact", lambda: compact(path)),
                       ("read measurements", lambda: sum(1 for _ in read(path, "measurement")))):
        _, seconds, processor = timed(work)
        rows[name] = {"seconds": seconds, "processor s": processor, "peak MB by now": peak()}
    return rows

before = peak()
what, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
found = opening(path, count, int(sys.argv[4])) if what == "opening" else whole(path, count)
print(json.dumps({"before": before, "found": found}))
"""

APPEND = """
import sys
from emc.journal import Journal
from emc.results import Evidence, ProbeResult, Verdict

path, name, count, batch, detail = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), eval(sys.argv[5])
with Journal(path) as journal:
    print("ready", flush=True)
    sys.stdin.readline()
    for start in range(0, count, batch):
        results = [
            ProbeResult(f"{name}-{number}", 512, number, 0, Verdict.NOT_FITTED, Evidence.NOISE_FLOOR, 400, 0.1, None,
                        25_000, 3_200_000, 1.5, detail)
            for number in range(start, start + batch)
        ]
        for result in results:
            journal.claim(result.key)
        journal.append(results, bases={result.key: "b" * 24 for result in results}, grow=True)
        for result in results:
            journal.release(result.key)
        journal.refresh()
    journal.sync()
"""


def verdict(number: int) -> ProbeResult:
    """One of many, with a key as probes have it."""
    key = hashlib.sha256(str(number).encode()).hexdigest()[:24]
    where = (key, 16 + number % 50_000, number % 6, 0)
    counts = (number % 1000, 0.12345678901, 0.00123, 25_000, 3_200_000, 1.23456)
    return ProbeResult(*where, Verdict.NOT_FITTED, Evidence.NOISE_FLOOR, *counts, DETAIL)


def write(path: Path, count: int) -> None:
    """A journal of so many verdicts."""
    with path.open("wb") as file:
        for number in range(count):
            file.write(encode_probe(verdict(number), "b" * 24))


def measured(what: str, path: Path, count: int) -> dict[str, Any]:
    """What a fresh process measured."""
    words = [sys.executable, "-c", MEASURE, what, str(path), str(count), str(LOOK_UPS)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def opening_row(folder: Path, count: int, repeats: int) -> dict[str, Any]:
    """Opening and finding, over repeats."""
    path = folder / "journal.jsonl"
    write(path, count)
    runs = [measured("opening", path, count) for _ in range(repeats)]
    names = list(runs[0]["found"])
    columns = {name: Spread.of(run["found"][name] for run in runs) for name in names}
    return {"verdicts": count, "MB": path.stat().st_size / 1e6, "MB before": runs[0]["before"], **columns}


def whole_rows(folder: Path, count: int) -> list[dict[str, Any]]:
    """Reading, checking and compacting the whole."""
    path = folder / "journal.jsonl"
    found = measured("whole", path, count)["found"]
    return [{"verdicts": count, "what": what, **values} for what, values in found.items()]


def append_row(folder: Path, processes: int, batch: int, count: int) -> dict[str, Any]:
    """Processes that claim, append, release and look for news at once, as an engine does, on one file."""
    path = folder / f"appended-{processes}-{batch}.jsonl"
    start = [sys.executable, "-c", APPEND, str(path)]
    rest = [str(count), str(batch), repr(DETAIL)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*start, f"p{number}", *rest], **pipes) for number in range(processes)]
    for writer in writers:
        writer.stdout.readline()
    started = time.perf_counter()
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    codes = [writer.wait() for writer in writers]
    seconds = time.perf_counter() - started
    keys = [json.loads(line)["key"] for line in path.read_bytes().splitlines()]
    lost = processes * count - len(set(keys))
    if any(codes) or lost or len(keys) != len(set(keys)):
        raise SystemExit(f"exit codes {codes}, {lost} verdicts lost")
    return {
        "processes": processes,
        "verdicts at once": batch,
        "verdicts": len(keys),
        "seconds": seconds,
        "verdicts/s": len(keys) / seconds,
        "lost": lost,
    }


@click.command()
@quick_option
@json_option
def main(quick: bool, json_path: Path | None) -> None:
    """Print the three tables."""
    sizes, repeats = (QUICK_SIZES if quick else SIZES), 3
    report = Report("journal", json_path, quick)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report.table(f"Opening, {repeats} runs", [opening_row(folder, count, repeats) for count in sizes])
        report.table("The whole file", whole_rows(folder, sizes[-1]))
        count = 400 if quick else 4000
        rows = [
            append_row(folder, processes, batch, count)
            for processes in (QUICK_PROCESSES if quick else PROCESSES)
            for batch in (1, 8)
        ]
        report.table("Appending at once, with claims and news", rows)


if __name__ == "__main__":
    main()
