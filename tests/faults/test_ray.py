"""Workers and whole nodes of a real Ray cluster are killed while it trains, and its head: nothing is lost."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray_nodes import QUICK, kill, kill_node, processes, workers

import emc
from emc.results import EmcResult, Progress

ray = pytest.importorskip("ray", reason="needs ray: pip install 'emc[ray]'")

from ray.cluster_utils import Cluster  # noqa: E402
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

from emc.executors import ray_store  # noqa: E402

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore:Tip. In future versions of Ray:FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

Ledger = Callable[[int, int], None]

SETTINGS: dict[str, Any] = {
    "model": "mlp:width=3",
    "data": "gaussian:dim=32,size=2000",  # large enough not to be handed over beside the object store
    "labels": "random",
    "min_steps": 200,
    "max_epochs": 10,
    "replicates": 4,
}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head that trains nothing, and two nodes of one CPU."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": QUICK})
    for _ in range(2):
        made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


def found(result: EmcResult) -> Any:
    """What a measurement found, wall times left out."""
    probes = sorted((replace(probe, seconds=0.0) for probe in result.probes), key=lambda probe: probe.key)
    return result.emc, result.interval, probes


@pytest.mark.faults(quick=1, full=40)
def test_killed_workers_and_nodes_of_ray(
    cluster: Cluster, trials: int, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A measurement a trial; the data's one copy is on a random worker node, and may be on the one that is killed."""
    chance = random.Random(trials)
    hold = ray.remote(num_cpus=0, max_retries=0)(lambda value: value)

    def put_on_a_worker(value: Any) -> Any:
        place = NodeAffinitySchedulingStrategy(chance.choice(list(cluster.worker_nodes)).node_id, soft=False)
        reference = hold.options(scheduling_strategy=place).remote(value)
        ray.wait([reference], fetch_local=False)
        return reference

    monkeypatch.setattr(ray_store, "put", put_on_a_worker)
    losses = 0
    for trial in range(trials):
        moment, killed = chance.randrange(1, 25), []

        def kill_once(progress: Progress, trial: int = trial, moment: int = moment, killed: list[int] = killed) -> None:
            if progress.probes >= moment and not killed:
                node = chance.choice(list(cluster.worker_nodes))
                killed.append(trial)
                if trial % 2:
                    kill_node(node)
                    cluster.remove_node(node, allow_graceful=False)
                    cluster.add_node(num_cpus=1)
                else:
                    kill(*workers(node))

        journal = tmp_path / f"{trial}.jsonl"
        result = emc.measure(**SETTINGS, seed=trial, cluster=cluster.address, journal=str(journal), observer=kill_once)
        assert killed
        keys = [record["key"] for record in map(json.loads, journal.read_text().splitlines()) if "verdict" in record]
        losses += found(result) != found(emc.measure(**SETTINGS, seed=trial)) or len(keys) != len(set(keys))
    ledger(trials, losses)
    assert losses == 0


@pytest.mark.faults(quick=0, full=5)
def test_killed_head_of_ray(trials: int, ledger: Ledger, tmp_path: Path) -> None:
    """The driver ends with a sentence, and the same command goes on with another cluster."""
    losses = 0
    for trial in range(trials):
        losses += kill_head(tmp_path / f"{trial}.jsonl", trial)
    ledger(trials, losses)
    assert losses == 0


def kill_head(journal: Path, seed: int) -> int:
    """How many verdicts were lost or trained twice where the head was killed while a measurement ran."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
    command = [sys.executable, "-m", "emc", "measure", *options, f"--seed={seed}", f"--journal={journal}", "--json"]
    kept: list[bytes] = []
    for last in (False, True):
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": QUICK})
        arguments = [*command, str(journal.with_suffix(".json")), "--cluster", made.address]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as driver:
            while not last and len(verdicts(journal)) < 10:
                assert driver.poll() is None
                time.sleep(0.01)
            if not last:
                kill(*processes(made.head_node))
                kept = verdicts(journal)
            _, said = driver.communicate(timeout=120)
        made.shutdown()
        if not last:
            assert driver.returncode not in (0, None)
            assert "the Ray cluster must stay up while it trains, but its head at" in said
            assert "Traceback" not in said
    assert driver.returncode == 0, said
    after = verdicts(journal)
    keys = [json.loads(line)["key"] for line in after]
    expected = emc.measure(**SETTINGS, seed=seed)
    result = EmcResult.from_dict(json.loads(journal.with_suffix(".json").read_text()))
    return (after[: len(kept)] != kept) + (len(keys) - len(set(keys))) + (found(result) != found(expected))


def verdicts(journal: Path) -> list[bytes]:
    """The whole lines of verdicts."""
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    return [line for line in lines if b'"verdict"' in line]
