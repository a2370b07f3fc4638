"""Trainings kept in files, so that they go on after their process has ended: one file a probe, whole or not at all.

A file is used only where the training goes on from it to the bit: by the same trainer on the same kind of device, with
the same versions and threads. Any other one, and a damaged one, is ignored: a probe is a function of its key, so that
nothing but time is lost. Nothing in a file is ever run: it is loaded with `weights_only=True`.
"""

from __future__ import annotations

import hashlib
import io
import logging
import platform
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cloudpickle
import torch
from torch import nn

from emc.files import replacing
from emc.specs import RESULTS_VERSION, digest
from emc.training.run import ProbeRun
from emc.training.setup import Setup

logger = logging.getLogger("emc")

#: What a file begins with; the digest of the rest follows.
MAGIC = b"emc checkpoint 1\n"

#: Numbers, texts, tensors, and lists and mappings of them.
State = Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoints:
    """Where trainings are kept, and how often.

    Args:
        folder: one file a probe, by its key; made when the first one is saved.
        every: seconds between two checkpoints of a training; 0 saves at every exact count.
    """

    folder: str
    every: float
    _told: set[str] = field(default_factory=set, compare=False, repr=False)

    def of(self, run: ProbeRun, trainer: str) -> Checkpoint | None:
        """A training's own; None for a model that nothing outside this process can know by its key.

        To be called by the thread that trains, or starts what trains, since threads may differ in PyTorch's threads.
        """
        return Checkpoint(self, run, trainer) if run.setup.identified else None

    def tell(self, error: Exception) -> None:
        """Warn that trainings cannot be saved, once of one kind of error: there may be thousands."""
        if type(error).__name__ not in self._told:
            self._told.add(type(error).__name__)
            logger.warning("a training could not be saved, so that it would start over: %s", error)


class Checkpoint:
    """The file of one training.

    Args:
        checkpoints: where it is.
        run: how far the training is.
        trainer: whose state it is.
    """

    def __init__(self, checkpoints: Checkpoints, run: ProbeRun, trainer: str) -> None:
        self._all, self._run = checkpoints, run
        self._facts = _facts(run.setup, trainer, run.probe.key)
        self._saved = time.monotonic()

    def due(self, *, counted: bool) -> bool:
        """Whether it is time to save.

        Args:
            counted: whether the training was just counted.
        """
        every = self._all.every
        return counted if every == 0 else time.monotonic() - self._saved >= every

    def save(self, state: Callable[[], State]) -> None:
        """Write what a training holds; what hinders it is a warning, since the training itself can go on."""
        folder = Path(self._all.folder)
        try:
            content = _pack({"facts": self._facts, "state": _plain(state())})
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(_path(folder, self._run.probe.key)) as temporary:
                temporary.write_bytes(content)
        except Exception as error:  # such as a full disk, or a user's optimizer whose state cannot be written
            self._all.tell(error)
        finally:
            self._saved = time.monotonic()

    def load(self) -> State | None:
        """What was saved of this very training; None where there is nothing, or nothing that can be used."""
        path = _path(Path(self._all.folder), self._run.probe.key)
        try:
            found = _unpack(path.read_bytes())
            if found["facts"] != self._facts:
                mine = self._facts.items()
                apart = next(name for name, value in mine if found["facts"].get(name) != value)
                raise ValueError(f"it is of another {apart}: {found['facts'].get(apart)}")
            state: State = found["state"]
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever a damaged file makes of itself
            self.ignore(error)
            return None
        return state

    def ignore(self, error: Exception) -> None:
        """Say that what was saved is of no use."""
        message = str(error).split("\n")[0]
        key = self._run.probe.key
        logger.warning("the checkpoint of probe %s is ignored, so that it starts over: %s", key, message)

    def discard(self) -> None:
        """Remove it."""
        discard(self._all.folder, self._run.probe.key)


class Kept(Protocol):
    """A training that can be put into a state."""

    file: Checkpoint | None

    def load_state(self, state: State) -> None:
        """Go on from a state."""
        ...


K = TypeVar("K", bound=Kept)


def resumed(make: Callable[[], K]) -> K:
    """A training where its checkpoint left it, or from its start where there is none of use.

    Args:
        make: a training at its start.
    """
    made = make()
    state = None if made.file is None else made.file.load()
    if made.file is None or state is None:
        return made
    try:
        made.load_state(state)
    except Exception as error:  # whatever a foreign state does
        made.file.ignore(error)
        return make()
    return made


def discard(folder: str | Path, key: str) -> None:
    """Remove a probe's checkpoint, if there is one and it can be: once its verdict is in the journal, none needs it."""
    with suppress(OSError):
        _path(Path(folder), key).unlink()


def _path(folder: Path, key: str) -> Path:
    return folder / f"{key}.pt"


def _pack(content: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getvalue()
    return MAGIC + hashlib.sha256(payload).digest() + payload


def _unpack(content: bytes) -> dict[str, Any]:
    """The inverse of `_pack`.

    Raises:
        ValueError: it is damaged or something else.
    """
    start = len(MAGIC)
    told, payload = content[start : start + 32], content[start + 32 :]
    if not content.startswith(MAGIC) or hashlib.sha256(payload).digest() != told:
        raise ValueError("the file is damaged or no checkpoint")
    found: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return found


def _facts(setup: Setup, trainer: str, key: str) -> dict[str, Any]:
    """What has to be equal for a training to go on to the bit."""
    device = setup.pool.device
    return {
        "key": key,
        "trainer": trainer,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "model": digest(setup.architecture),
        "precision": str(setup.pool.dtype),
        "results version": RESULTS_VERSION,
        **_software(),
    }


@cache
def _software() -> dict[str, str]:
    found = {name: version(name) for name in ("numpy", "numba", "pytorch-optimizer")}
    return {
        "torch": str(torch.__version__),
        **found,
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }


def _plain(value: Any) -> Any:
    """The same with tensors on the CPU, of which a part takes no more than its own bytes in a file."""
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        whole = tensor.untyped_storage().nbytes() == tensor.nbytes
        return tensor if whole else tensor.clone()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def held_beside(module: nn.Module) -> bytes | None:
    """A digest of what a module's parts hold beside parameters, buffers and their mode; None where none can be made.

    A model whose digest changes while it is trained keeps state that its parameters and buffers do not tell.
    """
    own = ("training", "_parameters", "_buffers", "_modules")
    held = [{name: value for name, value in vars(part).items() if name not in own} for part in module.modules()]
    buffer = io.BytesIO()
    try:
        _Beside(buffer, module).dump(held)
    except Exception:  # whatever a user's model holds
        return None
    return hashlib.sha256(buffer.getvalue()).digest()


class _Beside(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles what a module holds, with a mark in place of its parameters, buffers and parts."""

    def __init__(self, file: io.BytesIO, module: nn.Module) -> None:
        super().__init__(file)
        self._known = {id(part) for part in (*module.parameters(), *module.buffers(), *module.modules())}

    def persistent_id(self, obj: Any) -> str | None:
        """How an object is marked; None pickles it."""
        return type(obj).__name__ if id(obj) in self._known or isinstance(obj, weakref.ref) else None
