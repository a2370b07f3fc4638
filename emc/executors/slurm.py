"""Training on a Slurm cluster: probes go into job arrays, and verdicts come back through files, one by one."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedSubmissionError, UncompletedJobError

from emc.errors import ClusterError, SpecError, TrainingError
from emc.executors.bundles import stack_key, take_bundle
from emc.executors.choice import choose
from emc.executors.clusters import SlurmCluster
from emc.executors.remote import key_of
from emc.executors.slurm_commands import FINAL, cancel, states
from emc.executors.slurm_earlier import FOLDER, Dead, claim, earlier_verdicts, job_name
from emc.executors.slurm_job import Folder, Job, Reader
from emc.journal import side_folder
from emc.results import ProbeFailure, ProbeResult, RunningProbe
from emc.specs import Execution, Probe
from emc.stopping import no_interrupt
from emc.training.checkpoints import Checkpoints
from emc.training.failing import failure
from emc.training.setup import Setup
from emc.training.waiting import Waiting

#: Seconds between two looks at the files of the jobs, and between two questions after their states.
POLL_S, STATES_EVERY_S = 0.5, 20.0

#: Seconds that probes wait for others to be submitted with, since Slurm takes few large arrays better than many jobs.
GATHER_S = 5.0

#: Seconds that a shared folder may take to show what a job wrote before it ended.
SETTLE_S = 10.0

#: Jobs that may end on one probe before it has failed.
MAX_ENDS = 3

#: Times in a row that Slurm may not tell the state of any job.
MAX_SILENT = 15

#: Seconds after which jobs are submitted again where Slurm refused them, and how often in a row that is tried.
RETRY_S, MAX_REFUSALS = 30.0, 5


class SlurmExecutor:
    """Trains in Slurm's job arrays, several probes a job where there are many.

    A job takes seconds to minutes to start, a probe often less to train. Probes are therefore gathered for a moment and
    shared out over the jobs that are free; a job trains its own one after the other, as this machine would, and writes
    each verdict into a file of its own in a folder that all machines see. Slurm starts a job that was preempted, or
    reached its time limit, once more; it goes on with the probes it has no verdict of. Jobs of a driver that died are
    cancelled by the next one with the same folder, which uses the verdicts that they wrote.

    Args:
        setups: what trains, by `Probe.base`.
        execution: which trainer; the journal, beside which the folder is unless the cluster names one.
        cluster: jobs at once, their limits, probes a job.
        checkpoints: where trainings are kept, in a folder that all machines see; None keeps none.

    Raises:
        SpecError: there is no folder, or the trainer asked for cannot train a setup.
        ClusterError: this machine cannot submit jobs.
    """

    def __init__(
        self,
        setups: Mapping[str, Setup],
        execution: Execution,
        cluster: SlurmCluster,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._checkpoints = None if checkpoints is None else str(Path(checkpoints.folder).absolute())
        self._setups, self._cluster = setups, cluster
        trainers = {base: choose(setup, execution.trainer).trainer for base, setup in setups.items()}
        self.name = " and ".join(dict.fromkeys(trainers.values()))
        self._stacked = {base for base, trainer in trainers.items() if trainer == "lockstep" and cluster.gpus}
        self._execution = execution
        root = _root(execution, cluster)
        self._folder = Folder(root / f"{FOLDER}{uuid.uuid4().hex[:12]}")
        self._slurm = _submitter(self._folder, cluster)
        self._claim = claim(self._folder.path)
        self._dead = Dead(root)
        known = [setup for setup in setups.values() if setup.identified]
        self._earlier = earlier_verdicts(root) if known and not execution.fresh else {}
        self._shared: set[str] = set()
        self._waiting = Waiting()
        self._gathered_since = 0.0
        self._found: list[ProbeResult | ProbeFailure] = []
        self._jobs: dict[str, Live] = {}
        self._ends: Counter[Probe] = Counter()
        self._submitted, self._failed = 0, False
        self._refusals, self._next_try = 0, 0.0
        self._next_states, self._silent = 0.0, 0

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        """Take a probe in; see `Executor.add`. One that a job of an earlier run ended has its verdict at once."""
        earlier = self._earlier.pop(probe.key, None)
        if earlier is not None and self._setups[probe.base].identified:
            self._found.append(earlier)
        elif all(probe not in live.left for live in self._jobs.values()):
            if not self._waiting:
                self._gathered_since = time.monotonic()
            self._waiting.add(probe, ahead=ahead)

    def drop(self, probe: Probe) -> RunningProbe | None:
        """Forget a probe; a job that has no other is cancelled. How far it was is not known."""
        self._waiting.remove(probe)
        for name, live in list(self._jobs.items()):
            if probe in live.left:
                del live.left[probe]
                if not live.left:
                    self._cancel(name)
        return None

    def running(self) -> list[RunningProbe]:
        """The next training of each job that runs; how far it is, is not known."""
        nexts = [next(iter(live.left)) for live in self._jobs.values() if live.left and live.state == "RUNNING"]
        return [self._status(probe) for probe in nexts]

    def _status(self, probe: Probe) -> RunningProbe:
        budget = self._setups[probe.base].budget(probe.n)
        return RunningProbe(probe.n, probe.replicate, probe.attempt, 0, 0, budget, base=probe.base)

    def room(self) -> int:
        """Jobs that could be submitted."""
        return max(0, self._cluster.array - len(self._jobs) - len(self._waiting))

    def wants(self) -> int:
        """As many as all jobs together may hold; see `Executor.wants`."""
        held = len(self._waiting) + sum(len(live.left) for live in self._jobs.values())
        return max(0, self._cluster.array * self._cluster.probes - held)

    def advance(self) -> Sequence[ProbeResult | ProbeFailure]:
        """Submit what waits, then look for news; the verdicts and failures that came.

        Raises:
            ClusterError: Slurm takes no jobs or does not tell of them, or the folder cannot be used.
        """
        try:
            self._submit()
            outcomes = [*self._take_found(), *self._read(), *self._bury()]
        except OSError as error:
            raise ClusterError(
                f"the folder of the jobs must be usable, got {error.strerror or error}: {self._folder.path}; "
                "mend it and run the same command"
            ) from error
        if not outcomes:
            time.sleep(POLL_S)
        return outcomes

    def save(self) -> None:
        """Nothing: a job saves its checkpoints when they are due, and what came after the last one is lost."""

    def close(self) -> None:
        """Cancel the jobs that are left; the folder goes, unless its logs may tell why something failed.

        Folders of dead drivers go with a run that came to its end: one that was stopped may not have asked for all that
        is in them.
        """
        ended = not (self._waiting or self._jobs or self._found)
        self._waiting.clear()
        with no_interrupt():
            cancelled = self._cancel(*self._jobs)
        if cancelled and not self._failed:
            shutil.rmtree(self._folder.path, ignore_errors=True)
        self._dead.close(self._setups, remove=ended)
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _take_found(self) -> list[ProbeResult | ProbeFailure]:
        found, self._found = self._found, []
        return found

    def _submit(self) -> None:
        """Share what waits out over free jobs, once it has been gathered or would fill them all."""
        free, now = self._cluster.array - len(self._jobs), time.monotonic()
        full = len(self._waiting) >= free * self._cluster.probes
        if not self._waiting or free == 0 or now < self._next_try:
            return
        if not full and now - self._gathered_since < GATHER_S:
            return
        jobs = []
        while self._waiting and free > 0:
            probes = take_bundle(self._waiting, free, self._cluster.probes, self._key)
            jobs.append(self._job(probes))
            free -= 1
        with no_interrupt():  # it would end sbatch halfway, or leave jobs that nobody cancels
            self._start(jobs)

    def _start(self, jobs: Sequence[Job]) -> None:
        try:
            with self._slurm.batch():
                live = [self._slurm.submit(job) for job in jobs]
            ids = [each.job_id for each in live]  # only now do they have one
        except (UncompletedJobError, FailedSubmissionError) as error:
            self._waiting.put_back(probe for job in jobs for probe in job.probes)
            self._refuse(error)
            return
        self._refusals, self._submitted = 0, self._submitted + len(ids)
        for job, submitted in zip(jobs, live, strict=True):
            self._jobs[job.name] = Live(submitted, dict.fromkeys(job.probes), self._folder.reader(job.name))

    def _job(self, probes: Sequence[Probe]) -> Job:
        for base in {probe.base for probe in probes} - self._shared:
            self._folder.put(base, self._setups[base])
            self._shared.add(base)
        cluster, name = self._cluster, uuid.uuid4().hex
        return Job(name, self._folder, tuple(probes), self._execution, cluster.cpus, cluster.minutes, self._checkpoints)

    def _key(self, probe: Probe) -> Hashable:
        """Equal for probes that may share a job: none shares one with a probe on which a job ended."""
        if self._ends[probe]:
            return probe
        return stack_key(self._setups[probe.base], probe.n) if probe.base in self._stacked else None

    def _refuse(self, error: Exception) -> None:
        """Slurm took no job: try again later, unless it never took one."""
        self._refusals += 1
        self._next_try = time.monotonic() + RETRY_S
        if self._submitted == 0 or self._refusals >= MAX_REFUSALS:
            told = [line for line in str(error).splitlines() if line.strip()] or ["no reason"]
            raise ClusterError(f"Slurm must take the jobs, got: {told[-1].strip()}; see the options of --cluster slurm")

    def _read(self) -> Iterator[ProbeResult | ProbeFailure]:
        """What the jobs wrote since the last look."""
        for name, live in list(self._jobs.items()):
            by_key = {probe.key: probe for probe in live.left}
            for outcome in live.reader.read(by_key):
                del live.left[by_key[key_of(outcome)]]
                self._failed |= isinstance(outcome, ProbeFailure)
                yield outcome
            if not live.left:
                del self._jobs[name]

    def _bury(self) -> Iterator[ProbeFailure]:
        """Jobs that ended with probes left: those wait again, or have failed once too many jobs ended on them."""
        now = time.monotonic()
        if self._jobs and now >= self._next_states:
            self._next_states = now + STATES_EVERY_S
            self._look(now)
        dead = {
            name: live for name, live in self._jobs.items() if live.ended is not None and now - live.ended >= SETTLE_S
        }
        self._cancel(*dead)  # one that failed with its machine may be started again
        for live in dead.values():
            self._waiting.put_back(live.left)
            for probe in live.left:
                self._ends[probe] += 1
                if self._ends[probe] >= MAX_ENDS:
                    self._waiting.remove(probe)
                    self._failed = True
                    yield failure(probe, _ended(probe, live.state), live.log())

    def _look(self, now: float) -> None:
        """Ask Slurm for the states of the jobs.

        Raises:
            ClusterError: it has not told any for long.
        """
        try:
            told = states([live.job.job_id for live in self._jobs.values()])
            problem = "" if told else "it knows none of them"
        except ClusterError as error:
            told, problem = {}, str(error)
        self._silent = 0 if told else self._silent + 1
        if self._silent >= MAX_SILENT:
            raise ClusterError(
                f"Slurm must tell the states of the jobs, got none from sacct {MAX_SILENT} times in a row ({problem}); "
                "mend Slurm's accounting and run the same command"
            )
        for live in self._jobs.values():
            live.look(told.get(live.job.job_id, live.state), now)

    def _cancel(self, *names: str) -> bool:
        """Cancel jobs and forget them; whether Slurm took that."""
        return cancel(*[self._jobs.pop(name).job.job_id for name in names])


@dataclass(eq=False)
class Live:
    """A job that is submitted.

    Attributes:
        job: as submitit knows it.
        left: its probes that have no verdict yet.
        reader: of its verdicts.
        state: as Slurm last said.
        ended: when that was first one of an ended job.
    """

    job: Any
    left: dict[Probe, None]
    reader: Reader
    state: str = "UNKNOWN"
    ended: float | None = None

    def look(self, state: str, now: float) -> None:
        """Take in what Slurm says."""
        self.state = state
        if state not in FINAL:
            self.ended = None
        elif self.ended is None:
            self.ended = now

    def log(self) -> str:
        """What it wrote to its error stream, the end of it."""
        with suppress(OSError):
            return str(self.job.paths.stderr.read_text(errors="replace")[-4000:])
        return ""


def _ended(probe: Probe, state: str) -> TrainingError:
    return TrainingError(
        f"a training must end within a job's limits, but {MAX_ENDS} jobs ended {state} at n={probe.n} of replicate "
        f"{probe.replicate}; raise minutes or mem_gb of --cluster slurm, or mend the model"
    )


def _root(execution: Execution, cluster: SlurmCluster) -> Path:
    """The folder of the jobs of all runs.

    Raises:
        SpecError: there is none.
    """
    if cluster.folder is not None:
        return Path(cluster.folder).absolute()
    if execution.journal is None:
        raise SpecError(
            "--cluster slurm needs a folder that all its machines see, got none; name a --journal on a shared file "
            "system, or write slurm:folder=DIR"
        )
    return side_folder(execution.journal).absolute() / "cluster"


def _submitter(folder: Folder, cluster: SlurmCluster) -> Any:
    """What submits jobs within their limits.

    Raises:
        ClusterError: this machine cannot submit any, or not into the folder.
    """
    try:
        folder.path.mkdir(mode=0o700, parents=True)  # jobs run what is pickled in it
        folder.logs.mkdir()
        slurm = submitit.SlurmExecutor(folder.logs, max_num_timeout=2**31)  # jobs count for themselves
    except OSError as error:
        raise ClusterError(f"the folder of the jobs must be writable, got {error.strerror}: {folder.path}") from error
    except RuntimeError as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise ClusterError("--cluster slurm needs a machine that submits jobs, got none of Slurm's commands") from error
    given = {"partition": cluster.partition, "account": cluster.account, "gpus_per_node": cluster.gpus or None}
    slurm.update_parameters(
        job_name=job_name(folder.path),
        time=cluster.minutes,
        mem=f"{cluster.mem_gb}GB",
        cpus_per_task=cluster.cpus,
        array_parallelism=cluster.array,
        additional_parameters={"requeue": True},
        **{name: value for name, value in given.items() if value is not None},
    )
    return slurm
