"""Clusters by name: what `--cluster` takes. Ray and submitit are imported only where they are used."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from emc.errors import ClusterError, SpecError
from emc.registry import Registry
from emc.specs import Execution

if TYPE_CHECKING:
    from emc.executors.base import Executor
    from emc.training.checkpoints import Checkpoints
    from emc.training.setup import Setup

#: Of a Ray cluster: ray://host:port of its client server, or host:port of its head.
ADDRESS = re.compile(r"(ray://)?(\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})")


class Cluster(Protocol):
    """Machines that train."""

    def has_gpus(self) -> bool:
        """Whether trainings can have a GPU.

        Raises:
            ClusterError: it cannot be reached.
        """
        ...

    def executor(
        self, setups: Mapping[str, Setup], execution: Execution, checkpoints: Checkpoints | None = None
    ) -> Executor:
        """What trains there, and keeps checkpoints in a folder that all machines must see.

        Raises:
            ClusterError: it cannot be reached.
            SpecError: what trains cannot be handed over.
        """
        ...


CLUSTERS: Registry[Cluster] = Registry("cluster")


def find_cluster(text: str) -> Cluster:
    """The cluster that a user names.

    Args:
        text: "auto", the address of a Ray cluster, or a registered name with its options.

    Raises:
        UnknownNameError, SpecError: a wrong name or option.
    """
    return RayCluster(text) if ADDRESS.fullmatch(text) else CLUSTERS.build(text)


class RayCluster:
    """A Ray cluster by its address."""

    def __init__(self, address: str) -> None:
        self._address = address

    def has_gpus(self) -> bool:
        """Whether a node that is there has a GPU; see `Cluster.has_gpus`."""
        _require("ray", "ray")
        from emc.executors.ray_connection import connect, num_resources

        connect(self._address)
        return num_resources("GPU") > 0

    def executor(
        self, setups: Mapping[str, Setup], execution: Execution, checkpoints: Checkpoints | None = None
    ) -> Executor:
        """What trains there; see `Cluster.executor`."""
        _require("ray", "ray")
        from emc.executors.ray_cluster import RayExecutor
        from emc.executors.ray_connection import connect

        connect(self._address)
        return RayExecutor(setups, execution, checkpoints)


@dataclass(frozen=True)
class SlurmCluster:
    """A Slurm cluster, to which this machine can submit jobs.

    Attributes:
        partition, account: of the jobs; None leaves them to Slurm.
        minutes: that a job may last.
        array: jobs at once, at most.
        probes: that one job trains, at most.
        gpus, cpus, mem_gb: of a job.
        folder: that all its machines see; None is a folder beside the journal.
    """

    partition: str | None
    account: str | None
    minutes: int
    array: int
    probes: int
    gpus: int
    cpus: int
    mem_gb: int
    folder: str | None

    def has_gpus(self) -> bool:
        """Whether its jobs ask for a GPU; see `Cluster.has_gpus`."""
        return self.gpus > 0

    def executor(
        self, setups: Mapping[str, Setup], execution: Execution, checkpoints: Checkpoints | None = None
    ) -> Executor:
        """What trains there; see `Cluster.executor`."""
        _require("submitit", "slurm")
        from emc.executors.slurm import SlurmExecutor

        return SlurmExecutor(setups, execution, self, checkpoints)


@CLUSTERS.register("auto")
def auto() -> Cluster:
    """The Ray cluster at hand: that of RAY_ADDRESS, one that runs on this machine, else one started here."""
    return RayCluster("auto")


@CLUSTERS.register("slurm")
def slurm(
    *,
    partition: str | None = None,
    minutes: int = 60,
    array: int = 64,
    probes: int = 8,
    gpus: int = 0,
    cpus: int = 1,
    mem_gb: int = 4,
    account: str | None = None,
    folder: str | None = None,
) -> Cluster:
    """Slurm's job arrays: jobs at once (array), probes a job at most, a job's limits, and a folder all machines see."""
    least = {"minutes": minutes, "array": array, "probes": probes, "cpus": cpus, "mem_gb": mem_gb}
    for name, value in least.items():
        if value < 1:
            raise SpecError(f"cluster slurm takes {name} of at least 1, got {value}; raise it")
    if gpus not in (0, 1):
        raise SpecError(f"cluster slurm takes gpus of 0 or 1, got {gpus}; a job trains on one GPU")
    return SlurmCluster(partition, account, minutes, array, probes, gpus, cpus, mem_gb, folder)


def _require(package: str, extra: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ClusterError(
            f"--cluster needs {package}, which cannot be imported ({error}); run: pip install 'emc[{extra}]'"
        ) from error
