"""A real Ray cluster of two nodes on this machine, one for all tests: its start takes seconds."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cloudpickle
import pytest
from ray_nodes import QUICK, kill_node
from torch import Tensor, nn
from toys import normed_cnn

from emc.errors import ClusterError, TrainingError
from emc.executors.base import Executor
from emc.executors.inline import InlineExecutor
from emc.results import ProbeFailure, ProbeResult, RunningProbe
from emc.specs import Execution, Probe
from emc.training.setup import Setup

ray = pytest.importorskip("ray", reason="needs ray: pip install 'emc[ray]'")

from ray.cluster_utils import Cluster  # noqa: E402

from emc.executors import ray_cluster, ray_store  # noqa: E402
from emc.executors.ray_cluster import RayExecutor  # noqa: E402
from emc.executors.ray_connection import connect, connection, num_resources  # noqa: E402
from emc.executors.ray_task import run  # noqa: E402

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore:Tip. In future versions of Ray:FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

MakeSetup = Callable[..., Setup]
Finish = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]


class Net(nn.Module):
    """Raises at 99 samples a batch, ends its process at 98, never ends at 97."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.norm, self.out = nn.BatchNorm2d(1), nn.Linear(64, classes)

    def forward(self, X: Tensor) -> Tensor:
        if len(X) == 99:
            raise ValueError("99 samples\nand a second line")
        if len(X) == 98:
            os.kill(os.getpid(), signal.SIGKILL)
        while len(X) == 97:
            time.sleep(0.1)
        return self.out(self.norm(X).relu().flatten(1))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that trains nothing, and two nodes of one CPU."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": QUICK})
    for _ in range(2):
        made.add_node(num_cpus=1)
    connect(made.address)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def own() -> Callable[..., nn.Module]:
    for name in (__name__, "toys"):
        cloudpickle.register_pickle_by_value(sys.modules[name])  # a worker cannot import a test
    return lambda _shape, classes: Net(classes)


@pytest.fixture
def setups(make_setup: MakeSetup, own: Callable[..., nn.Module]) -> dict[str, Setup]:
    return {
        "mlp": make_setup(data="gaussian:dim=32,size=2000"),
        "cnn": make_setup(normed_cnn, inputs="permuted"),
        "own": make_setup(own),
        "long": make_setup(own, min_steps=10_000_000, stall_share=1, optimizer="adam:lr=1e-9"),
    }


@pytest.fixture
def executor(cluster: Any, setups: dict[str, Setup]) -> Iterator[RayExecutor]:
    assert cluster.address
    with contextlib.closing(RayExecutor(setups, Execution())) as made:
        yield made


def until(condition: Callable[[], bool], executor: Executor) -> list[ProbeResult | ProbeFailure]:
    """Go on until something holds."""
    outcomes: list[ProbeResult | ProbeFailure] = []
    while not condition():
        outcomes += executor.advance()
    return outcomes


def fails(executor: Executor, probe: Probe) -> ProbeFailure:
    """The failure of a probe that comes to no verdict."""
    executor.add(probe)
    outcomes: list[ProbeResult | ProbeFailure] = []
    while not outcomes:
        outcomes += executor.advance()
    (failure,) = outcomes
    assert isinstance(failure, ProbeFailure)
    assert failure.probe == probe
    return failure


def test_verdicts_have_the_bits_of_this_process(
    executor: RayExecutor, setups: dict[str, Setup], finish: Finish
) -> None:
    probes = [Probe(base, n, r) for base in ("mlp", "cnn", "own") for n in (2, 40) for r in range(2)]
    assert executor.name == "compiled and single"
    assert (executor.room(), executor.wants()) == (2, 4)
    assert finish(executor, probes) == finish(InlineExecutor(setups, Execution()), probes)
    assert executor.running() == []
    assert executor.room() == 2


def test_running_and_dropping(executor: RayExecutor) -> None:
    first, second, third = (Probe("long", 1000, r) for r in range(3))
    for probe in (first, second, third):
        executor.add(probe)
    executor.add(first)  # is there already
    assert (executor.room(), executor.wants()) == (0, 1)
    until(lambda: len(executor.running()) == 2 and all(run.steps > 0 for run in executor.running()), executor)
    (waits,) = {0, 1, 2} - {run.replicate for run in executor.running()}
    assert executor.running()[0].budget == 10_000_000
    assert executor.drop(Probe("long", 1000, waits)) is None
    for probe in {first, second, third} - {Probe("long", 1000, waits)}:
        dropped = executor.drop(probe)
        assert isinstance(dropped, RunningProbe)
        assert dropped.steps % 10 == 0
    assert executor.room() == 2
    until(lambda: not executor._tasks, executor)  # their workers are free again


def test_what_a_training_raises_is_its_own_failure(executor: RayExecutor) -> None:
    failure = fails(executor, Probe("own", 99, 0))
    assert str(failure.error).startswith("a training must run without errors, got ValueError: 99 samples; mend")
    assert "in forward" in failure.trace


def test_a_probe_that_kills_its_workers_is_a_failure(executor: RayExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "MAX_DEATHS", 2)  # each costs the start of a worker
    failure = fails(executor, Probe("own", 98, 0))
    assert isinstance(failure.error, TrainingError)
    assert "2 workers died (WorkerCrashedError) at n=98 of replicate 0" in str(failure.error)


@pytest.mark.usefixtures("cluster")
def test_a_training_that_never_ends_is_killed(setups: dict[str, Setup], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "OVERTIME_S", 0.0)
    with contextlib.closing(RayExecutor(setups, Execution(probe_timeout=1.0))) as executor:
        failure = fails(executor, Probe("own", 97, 0))
        assert "must end within --probe-timeout 1 s, got n=97 of replicate 0 after" in str(failure.error)
        until(lambda: not executor._tasks, executor)
        assert executor.room() == 2


def test_a_lost_node_takes_its_probes_and_the_data_but_no_verdict(
    cluster: Any, setups: dict[str, Setup], finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data's only copy is on the node; after it is gone, a new one has to be given all of it."""
    doomed = cluster.add_node(num_cpus=1, resources={"doomed": 1})
    hold = ray.remote(lambda value: value).options(num_cpus=0, max_retries=0, resources={"doomed": 0.001})
    puts: list[Any] = []

    def put_there(value: Any) -> Any:
        puts.append(hold.remote(value) if len(puts) < 2 else ray.put(value))
        ray.wait(puts[-1:], fetch_local=False)
        return puts[-1]

    monkeypatch.setattr(ray_store, "put", put_there)
    with contextlib.closing(RayExecutor({"mlp": setups["mlp"]}, Execution())) as executor:
        executor._store.pack("mlp")
        kill_node(doomed)
        assert len(puts) == 2
        probes = [Probe("mlp", n, 0) for n in (30, 60)]
        assert finish(executor, probes) == finish(InlineExecutor(setups, Execution()), probes)
        assert executor._store.generation == 1
    assert len(puts) == 4


def test_new_nodes_are_used(cluster: Any, executor: RayExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "POLL_S", 0.0)
    added = cluster.add_node(num_cpus=1)
    for r in range(3):
        executor.add(Probe("long", 1000, r))
    until(lambda: len(executor.running()) == 3, executor)
    assert executor.wants() == 3
    for r in range(3):
        executor.drop(Probe("long", 1000, r))
    cluster.remove_node(added)
    assert num_resources("CPU") == 2


def test_a_head_that_is_gone_is_one_sentence(executor: RayExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "place", "127.0.0.1:1")
    monkeypatch.setattr(ray_cluster.ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray_cluster, "HEAD_S", 0.0)
    executor._next_look = 0.0
    with pytest.raises(ClusterError, match=r"but its head at 127\.0\.0\.1:1 does not answer any more; start it again"):
        executor.advance()


def test_a_process_uses_one_cluster(cluster: Any) -> None:
    connect("auto")
    connect(cluster.address)
    with pytest.raises(ClusterError, match=r"a process uses one Ray cluster, got 127\.0\.0\.1:1 after "):
        connect("127.0.0.1:1")


def test_a_worker_of_other_versions_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"must have the same versions of results, torch and numpy, got \(\d+, "):
        list(run({}, [], Execution(), None, (1, "0.4", "1.0"), lambda: False))


def test_memory_that_ran_out_is_named() -> None:
    """Ray's monitor ends workers of a node that runs out of it."""
    assert ray_cluster._cause(ray.exceptions.OutOfMemoryError("a node")) == "as their nodes ran out of memory"
    assert ray_cluster._cause(ray.exceptions.WorkerCrashedError()) == "(WorkerCrashedError)"
