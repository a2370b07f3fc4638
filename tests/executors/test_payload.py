"""What trains comes out of its bytes as it went in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from emc.errors import SpecError
from emc.executors.base import Executor
from emc.executors.payload import LARGE, REGISTRIES, files_in, pack, unpack
from emc.models import MODELS
from emc.results import ProbeResult
from emc.specs import Probe
from emc.training.setup import Setup
from emc.training.single import SingleTrainer

MakeSetup = Callable[..., Setup]
Finish = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "cnn:width=2,depth=1"},
        {"optimizer": "lbfgs", "inputs": "permuted", "classes": 3},
        {"model": "random_features", "optimizer": "lbfgs", "loss": "squared", "schedule": "constant"},
    ],
)
def test_it_trains_to_the_same_bits(
    make_setup: MakeSetup, finish: Finish, tmp_path: Path, settings: dict[str, Any]
) -> None:
    setup = make_setup(**settings, test_split=0.1)
    probes = [Probe("base", n, r) for n in (2, 40) for r in range(2)]
    expected = finish(SingleTrainer(setup), probes)  # its pool holds samples by now, which stay behind
    copy = unpack(pack(setup, files_in(str(tmp_path))))
    assert finish(SingleTrainer(copy), probes) == expected


def test_large_arrays_go_into_one_file_each(make_setup: MakeSetup, tmp_path: Path) -> None:
    setup = make_setup(data="gaussian:dim=128,size=4000")
    content = pack({"one": setup, "two": replace(setup, seed=1)}, files_in(str(tmp_path)))
    assert len(content) < LARGE
    assert [path.stat().st_size > 4000 * 128 * 4 for path in tmp_path.iterdir()] == [True]
    copies = unpack(content)
    assert isinstance(copies, dict)
    X = copies["one"].pool.X
    assert X is copies["two"].pool.X is copies["one"].pool.dataset.X
    assert torch.equal(X, setup.pool.dataset.X)
    X[0] = 0  # another process must not see that
    again = unpack(content)
    assert isinstance(again, dict)
    assert torch.equal(again["one"].pool.dataset.X, setup.pool.dataset.X)


def test_arrays_and_tensors_of_a_users_own(make_setup: MakeSetup, tmp_path: Path) -> None:
    """A view of a large tensor, a large array, a tensor that needs a gradient: all come over."""
    base, array = torch.arange(LARGE).float(), np.arange(LARGE)
    view, leaf = base.view(-1, 4)[:, 1], torch.ones(LARGE, requires_grad=True)
    seen: list[Any] = []

    def model(_shape: tuple[int, ...], classes: int) -> nn.Module:
        seen[:] = [view, array, leaf]
        return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

    copy = unpack(pack(make_setup(model), files_in(str(tmp_path))))
    assert isinstance(copy, Setup)
    copy.make_model()
    assert len(list(tmp_path.iterdir())) == 2
    given = next(
        cell.cell_contents
        for cell in _closures(copy.make_model)
        if isinstance(cell.cell_contents, list) and len(cell.cell_contents) == 3
    )
    assert torch.equal(given[0], view)
    assert np.array_equal(given[1], array)
    assert given[2].requires_grad


def test_read_only_memory_is_shared_by_datasets_alone(make_setup: MakeSetup) -> None:
    """A cluster's store gives out memory that nobody may write to; a user's own tensor may be written to."""
    own, kept = torch.arange(LARGE).float(), []

    def save(array: np.ndarray[Any, Any]) -> int:
        kept.append(array.copy())
        kept[-1].flags.writeable = False
        return len(kept) - 1

    def model(_shape: tuple[int, ...], classes: int) -> nn.Module:
        own[0] += 1
        return nn.Sequential(nn.Flatten(), nn.Linear(128, classes))

    setup = make_setup(model, data="gaussian:dim=128,size=4000")
    copy = unpack(pack(setup, save, large=1 << 14), kept.__getitem__)
    assert isinstance(copy, Setup)
    copy.make_model()  # writes
    places = {array.__array_interface__["data"][0] for array in kept}
    dataset = copy.pool.dataset
    assert {dataset.X.data_ptr(), dataset.y.data_ptr(), dataset.group.data_ptr()} < places
    assert torch.equal(dataset.X, setup.pool.dataset.X)


def _closures(function: Any) -> list[Any]:
    cells = list(getattr(function, "__closure__", None) or ())
    return cells + [cell for held in cells if callable(held.cell_contents) for cell in _closures(held.cell_contents)]


def test_plug_ins_of_a_users_own_come_along(
    make_setup: MakeSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODELS, "_plugins", dict(MODELS._plugins))

    @MODELS.register("own_net")
    def own_net(_shape: tuple[int, ...], num_classes: int, *, units: int = 3) -> nn.Module:
        """A net of one's own."""
        return nn.Sequential(nn.Flatten(), nn.Linear(64, units), nn.Linear(units, num_classes))

    content = pack(make_setup(model="own_net:units=5"), files_in(str(tmp_path)))
    del MODELS._plugins["own_net"]
    copy = unpack(content)
    assert isinstance(copy, Setup)
    assert "out_features=5" in copy.architecture
    assert MODELS.get("own_net").options == REGISTRIES["model"].get("own_net").options


def test_what_cannot_be_pickled_is_told_in_one_sentence(make_setup: MakeSetup, tmp_path: Path) -> None:
    lock = threading.Lock()

    def model(_shape: tuple[int, ...], classes: int) -> nn.Module:
        with lock:
            return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

    with pytest.raises(SpecError, match=r"needs a model that can be pickled, got TypeError: cannot pickle .*lock"):
        pack(make_setup(model), files_in(str(tmp_path)))
