"""Slurm's commands by which the driver asks after jobs and cancels them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from submitit import SlurmJob

from emc.errors import ClusterError

#: States that a job does not leave by itself. A suspended or held job is none of them: it may go on.
FINAL = frozenset(
    ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE")
)

#: Seconds that a command may take.
ANSWER_S = 60.0


def states(ids: Sequence[str]) -> dict[str, str]:
    """The first word of each job's state ("CANCELLED by 1000" has more), by its id, of those that Slurm knows.

    Raises:
        ClusterError: Slurm does not say, with its reason only.
    """
    arrays = ",".join(dict.fromkeys(job.partition("_")[0] for job in ids))
    try:
        answer = _run("sacct", "-o", "JobID,State", "--parsable2", "-j", arrays)
    except (OSError, subprocess.SubprocessError) as error:
        raise ClusterError(str(error)) from error
    if answer.returncode:
        told = answer.stderr.strip().splitlines() or [f"exit status {answer.returncode}"]
        raise ClusterError(told[-1])
    known = SlurmJob.watcher.read_info(answer.stdout)
    found = {job: known[job]["State"].split() for job in ids if job in known}
    return {job: words[0].rstrip("+") for job, words in found.items() if words}


def cancel(*ids: str) -> bool:
    """Cancel jobs with one command, those that ended already included; whether Slurm took it."""
    try:
        return not ids or _run("scancel", *ids).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """Apart from the terminal, whose Ctrl-C would end it halfway."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=ANSWER_S, start_new_session=True, check=False
    )
