"""Verdicts and lines as the journal's format has them, written independently of it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from emc.journal import SCHEMA
from emc.results import Evidence, ProbeResult, Verdict


def key_of(number: int) -> str:
    """A key as probes have it."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:24]


def make(number: int, **changes: Any) -> ProbeResult:
    values: dict[str, Any] = {
        "key": key_of(number),
        "n": 16 + number,
        "replicate": number,
        "attempt": 0,
        "verdict": Verdict.NOT_FITTED,
        "evidence": Evidence.NOISE_FLOOR,
        "correct": number,
        "loss": 0.1 + number,
        "steps": 100,
        "detail": {"proof": "égal", "gain": 1e-300},
    }
    return ProbeResult(**(values | changes))


def line(result: ProbeResult, **changes: Any) -> bytes:
    return record_line({"kind": "probe", **result.to_dict(), **changes})


def old_line(result: ProbeResult) -> bytes:
    """As schema 1 had it."""
    return json.dumps({"schema": 1, **result.to_dict()}, separators=(",", ":")).encode() + b"\n"


def record_line(record: dict[str, Any]) -> bytes:
    return json.dumps({"schema": SCHEMA, **record}, separators=(",", ":")).encode() + b"\n"


def measured(fingerprint: str, **changes: Any) -> dict[str, Any]:
    """The least that a record of a measurement holds."""
    cost = {"probes": 3, "steps": 300, "sample_steps": 9000, "seconds": 0.5}
    facts = {"name": "digits", "rows": 1797, "content_hash": "abc"}
    record = {
        "kind": "measurement", "fingerprint": fingerprint, "emc": 100, "censored": False, "status": "bracketed",
        "lower": 100, "upper": 105, "interval": [90.0, 110.0], "interval_method": "order statistics",
        "confidence": 0.95, "estimand": "n50", "replicates": [{"replicate": 0}], "parameters": 50,
        "emc_per_parameter": 2.0, "bits_per_parameter": None, "test_accuracy": [], "task": {"data": "digits"},
        "procedure": {"model": "mlp:width=2"}, "search": {"n_max": 200}, "seed": 0, "dataset": facts, "cost": cost,
        "versions": {}, "probes": [],
    }  # fmt: skip
    return record | changes


def failure(fingerprint: str, **changes: Any) -> dict[str, Any]:
    """A record of a measurement that could not be made."""
    return {"kind": "failed", "fingerprint": fingerprint, "cell": {}, "error": "out of memory"} | changes


def base_record(name: str, **changes: Any) -> dict[str, Any]:
    """What a base stands for."""
    shared = {"task": {"data": "digits"}, "procedure": {"model": "linear"}, "seed": 0, "device": "cpu"}
    return {"kind": "base", "base": name, "dataset": {"name": "digits", "rows": 1797}, **shared} | changes


def start(code: str, *words: str | Path) -> subprocess.Popen[str]:
    """A process of its own that can be talked to."""
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def say(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")
