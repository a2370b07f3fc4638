"""The Ray cluster that this process is connected to."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ray

from emc.errors import ClusterError
from emc.executors.cores import num_cores

logger = logging.getLogger("emc")


@dataclass
class Connection:
    """The cluster that this process is connected to.

    Attributes:
        place: of its head or client server, host:port; empty while there is none.
        client: whether by a client server, which has no streams.
    """

    place: str = ""
    client: bool = False

    def answers(self) -> bool:
        """Whether the head can be reached, as it must before anything is asked of it: Ray would wait for a minute."""
        host, _, port = self.place.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
        except OSError:
            return False
        return True


#: The cluster of this process.
connection = Connection()


def connect(address: str) -> None:
    """Connect this process to a Ray cluster; it stays so until it ends.

    Args:
        address: "auto", host:port of the head or ray://host:port of its client server.

    Raises:
        ClusterError: it does not answer, or the process is connected to another one.
    """
    place = address.removeprefix("ray://")
    if ray.is_initialized():
        if not connection.place:
            connection.place = ray.get_runtime_context().gcs_address
        if address != "auto" and place != connection.place:
            raise ClusterError(
                f"a process uses one Ray cluster, got {place} after {connection.place}; take another process"
            )
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == "auto":
        _connect_at_hand()
        return
    found = Connection(place, address != place)
    if not found.answers():
        raise ClusterError(f"a Ray cluster must answer at {place}, got none; run ray start --head there")
    _init(address)
    connection.place, connection.client = place, found.client


def _connect_at_hand() -> None:
    named = os.environ.get("RAY_ADDRESS", "")
    if named not in ("", "auto", "local"):
        return connect(named)
    try:
        if named == "local":
            raise ConnectionError
        _init("auto")
    except ConnectionError:
        logger.info("no Ray cluster runs here: one is started on this machine")
        _init("local", num_cpus=num_cores(), include_dashboard=False)
    connection.place, connection.client = ray.get_runtime_context().gcs_address, False
    return None


def _init(address: str, **settings: Any) -> None:
    """Connect, without Ray's own output: a result goes to stdout.

    Raises:
        ConnectionError: none runs, where the one at hand was asked for.
        ClusterError: it cannot be used.
    """
    with suppress(AttributeError):
        ray._private.worker.print_to_stdstream = lambda data, **_: logger.debug("%s", data.get("lines"))
    try:
        with _own_signals():
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **settings)
    except Exception as error:  # of many kinds, such as RuntimeError where versions differ
        if address == "auto" and isinstance(error, ConnectionError):
            raise
        message = str(error).split("\n")[0]
        raise ClusterError(f"the Ray cluster at {address} must take this process in, got: {message}") from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """SIGTERM means what it meant before: Ray would end this process by it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def num_resources(kind: str) -> float:
    """How many of a resource the nodes have that are alive, such as "CPU" or "GPU"."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return float(sum(node["Resources"].get(kind, 0) for node in nodes if node["Alive"]))


def gone() -> ClusterError:
    """The cluster is no more: let go of it, so that this process can use another one."""
    place = connection.place
    with suppress(Exception):
        ray.shutdown()
    return ClusterError(
        f"the Ray cluster must stay up while it trains, but its head at {place} does not answer any more; start it "
        "again and run the same command: what was journaled is not trained again"
    )
