"""Slurm's commands as far as jobs and their driver use them; jobs are processes of this machine.

Linked under the commands' names. What there is to know of a job is a JSON file in the folder FAKE_SLURM; a minute lasts
FAKE_MINUTE seconds. `preempt` is no command of Slurm: it does to a running job what Slurm does for one of a higher
priority.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(os.environ["FAKE_SLURM"])
MINUTE = float(os.environ.get("FAKE_MINUTE", "60"))


@contextlib.contextmanager
def changing(job: str) -> Iterator[dict[str, Any]]:
    """A job's facts, written back."""
    with (ROOT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = ROOT / f"{job}.json"
        facts = json.loads(path.read_text()) if path.exists() else {}
        yield facts
        path.with_suffix(".new").write_text(json.dumps(facts))
        path.with_suffix(".new").replace(path)


def jobs() -> dict[str, dict[str, Any]]:
    with (ROOT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return {path.stem: json.loads(path.read_text()) for path in sorted(ROOT.glob("*_*.json"))}


def interrupt() -> None:
    """Ctrl-C, once, where it was asked for: to the driver and to what it runs in its terminal."""
    with contextlib.suppress(FileNotFoundError):
        (ROOT / "interrupt").unlink()
        driver = os.getppid()
        os.kill(driver, signal.SIGINT)
        if os.getpgrp() == os.getpgid(driver):
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)


def sbatch(script: str) -> None:
    interrupt()
    text = Path(script).read_text()
    with (ROOT / "calls").open("a") as calls:
        calls.write(text + "\n")
    given = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", text, re.MULTILINE))
    if given.get("partition") == "nowhere":
        sys.exit("sbatch: error: invalid partition specified: nowhere")
    number = len({job.partition("_")[0] for job in jobs()}) + 1
    last, parallel = re.fullmatch(r"0-(\d+)%(\d+)", given.get("array", "0-0%1").strip("'")).groups()
    for task in range(int(last) + 1):
        delay = float(given["signal"].partition("@")[2]) / 60 * MINUTE
        limit = float(given["time"]) * MINUTE
        with changing(f"{number}_{task}") as facts:
            facts.update(
                state="PENDING",
                script=os.path.abspath(script),
                array="array" in given,
                limit=limit,
                name=given["job-name"],
            )
            facts.update(delay=delay, parallel=int(parallel), starts=0, name=given["job-name"])
        command = [sys.executable, __file__, "run", f"{number}_{task}"]
        out = (ROOT / "runners").open("a")
        subprocess.Popen(command, start_new_session=True, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    print(f"Submitted batch job {number}")


def run(job: str) -> None:
    """What the machine of a job does, until it is over."""
    number, _, task = job.partition("_")
    while True:
        with changing(job) as facts:
            if facts["state"] == "CANCELLED":
                return
        mine = [facts for other, facts in jobs().items() if other.partition("_")[0] == number]
        if sum(each["state"] == "RUNNING" for each in mine) < facts["parallel"]:
            break
        time.sleep(0.05)
    given = {"SLURM_JOB_ID": number, "SLURM_JOB_NODELIST": "here", "SLURM_PROCID": "0"}
    if facts["array"]:
        given |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": task}
    process = subprocess.Popen(["bash", facts["script"]], env=os.environ | given, start_new_session=True)
    with changing(job) as facts:
        facts.update(state="RUNNING", group=process.pid, starts=facts["starts"] + 1, requeue=False)
    ended = watch(process, facts["limit"], facts["delay"])
    with changing(job) as facts:
        if facts["state"] == "RUNNING":
            facts["state"] = "PENDING" if facts["requeue"] else ended
    if facts["state"] == "PENDING":
        run(job)


def watch(process: subprocess.Popen[bytes], limit: float, delay: float) -> str:
    """Warn at the limit, then kill; the state that it ended in."""
    started, warned = time.monotonic(), False
    while process.poll() is None:
        time.sleep(0.05)
        passed = time.monotonic() - started
        if not warned and passed > limit - delay:
            warned = True
            tell(process.pid, signal.SIGUSR2)
        if passed > limit:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return "TIMEOUT"
    if process.returncode == 0:
        return "COMPLETED"
    return "OUT_OF_MEMORY" if process.returncode == 137 else "FAILED"


def tell(group: int, number: int) -> None:
    """A signal to the steps of a job, which is all but its batch script."""
    for pid in (int(each) for each in os.listdir("/proc") if each.isdigit()):
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == group and pid != group:
                os.kill(pid, number)


def named(job: str) -> list[str]:
    """The jobs of an id, or of a name: one, or all of an array."""
    if job == "--name":
        return []
    return [each for each, facts in jobs().items() if job in (each, each.partition("_")[0], facts["name"])]


def scancel(*ids: str) -> None:
    interrupt()
    with (ROOT / "cancels").open("a") as cancels:
        cancels.write(" ".join(ids) + "\n")
    for each in [each for job in ids for each in named(job)]:
        with changing(each) as facts:
            before, facts["state"] = facts["state"], "CANCELLED by 0"
            if before not in ("PENDING", "RUNNING"):
                facts["state"] = before
        if before == "RUNNING":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(facts["group"], signal.SIGKILL)


def preempt(job: str) -> None:
    (each,) = named(job)
    tell(jobs()[each]["group"], signal.SIGTERM)
    tell(jobs()[each]["group"], signal.SIGUSR2)


def scontrol(requeue: str, job: str) -> None:
    assert requeue == "requeue"
    for each in named(job):
        with changing(each) as facts:
            facts["requeue"] = True


def sacct(*arguments: str) -> None:
    if (ROOT / "mute").exists():
        sys.exit("sacct: error: Slurm accounting storage is disabled")
    print("JobID|State")
    for job, facts in jobs().items():
        if job.partition("_")[0] in arguments[-1].split(","):
            print(f"{job if facts['array'] else job.partition('_')[0]}|{facts['state']}")


def srun(*arguments: str) -> None:
    """Its options, then a command."""
    rest = list(arguments)
    while rest[0].startswith("--"):
        if rest.pop(0) == "--error":
            os.dup2(os.open(rest[0].replace("%t", "0"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        if not rest[0].startswith("--") and rest[0].startswith("/") and not os.access(rest[0], os.X_OK):
            rest.pop(0)
    os.execvp(rest[0], rest)


if __name__ == "__main__":
    name = Path(sys.argv[0]).stem
    arguments = sys.argv[1:]
    if name == "fake_slurm":
        name, *arguments = arguments
    globals()[name](*arguments)
