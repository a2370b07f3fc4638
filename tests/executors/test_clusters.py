"""What `--cluster` takes, without any cluster."""

from __future__ import annotations

import sys

import pytest

from emc.errors import ClusterError, SpecError, UnknownNameError
from emc.executors.clusters import RayCluster, SlurmCluster, find_cluster
from emc.specs import Execution


@pytest.mark.parametrize("text", ["auto", "ray://head:10001", "10.0.0.1:6379", "[::1]:6379"])
def test_addresses_are_of_ray(text: str) -> None:
    assert isinstance(find_cluster(text), RayCluster)


def test_slurm_has_typed_options() -> None:
    cluster = find_cluster("slurm:partition=short,minutes=5,gpus=1")
    assert cluster == SlurmCluster("short", None, 5, 64, 8, 1, 1, 4, None)
    assert cluster.has_gpus()
    assert not find_cluster("slurm").has_gpus()


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("slrum", UnknownNameError, 'there is no cluster "slrum"; did you mean "slurm"?'),
        ("slurm:partitoin=x", UnknownNameError, 'cluster slurm has no option "partitoin"; did you mean "partition"?'),
        ("slurm:minutes=0", SpecError, "cluster slurm takes minutes of at least 1, got 0; raise it"),
        ("slurm:gpus=2", SpecError, "cluster slurm takes gpus of 0 or 1, got 2"),
    ],
)
def test_wrong_options_are_told(text: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error) as caught:
        find_cluster(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(("text", "package", "extra"), [("auto", "ray", "ray"), ("slurm", "submitit", "slurm")])
def test_a_missing_package_is_one_sentence(
    text: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ClusterError, match=rf"^--cluster needs {package}, .*; run: pip install 'emc\[{extra}\]'$"):
        find_cluster(text).executor({}, Execution())
