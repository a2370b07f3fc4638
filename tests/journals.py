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
