"""What trains, as bytes for another process: closures by cloudpickle, large arrays apart, where all can share them."""

from __future__ import annotations

import io
import itertools
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle
import numpy as np
import numpy.typing as npt
import torch

from emc.data.dataset import Dataset, HeldOut
from emc.data.regimes import INPUTS, LABELS
from emc.data.rows import Rows
from emc.errors import SpecError
from emc.models import MODELS
from emc.models.activations import ACTIVATIONS
from emc.models.inits import INITS
from emc.optimizers import OPTIMIZERS
from emc.registry import Plugin, Registry
from emc.reparams import REPARAMS
from emc.training.augmentations import AUGMENTATIONS
from emc.training.schedules import SCHEDULES
from emc.training.setup import Setups
from emc.trainings import TRAININGS

#: Bytes from which an array is kept apart.
LARGE = 1 << 20

#: Keeps an array where other processes find it by the key that is returned.
Save = Callable[[npt.NDArray[Any]], Hashable]

#: Finds the array of a key; it may be read-only.
Find = Callable[[Any], npt.NDArray[Any]]

#: The registries that a training looks names up in; another process has its own, without this one's additions.
REGISTRIES: dict[str, Registry[Any]] = {
    registry.kind: registry
    for registry in (
        LABELS,
        INPUTS,
        MODELS,
        ACTIVATIONS,
        INITS,
        REPARAMS,
        AUGMENTATIONS,
        OPTIMIZERS,
        SCHEDULES,
        TRAININGS,
    )
}


def pack(setups: Setups, save: Save, large: int = LARGE) -> bytes:
    """What trains, for `unpack` in another process.

    Args:
        setups: what is handed over.
        save: takes the large arrays, each once; they must last as long as what was unpacked is used.
        large: bytes from which an array is one.

    Raises:
        SpecError: a user's model or data cannot be handed to another process.
        OSError: a file cannot be written.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, save, large)
    try:
        pickler.dump((_added_plugins(), setups))
    except OSError:
        raise
    except Exception as error:  # whatever a user's own objects may raise
        message = str(error).split("\n")[0]
        raise SpecError(
            f"training in processes needs a model that can be pickled, got {type(error).__name__}: {message}; "
            "leave out what it cannot do without, or use --workers 1 and no --cluster"
        ) from error
    finally:
        pickler.forget()
    return buffer.getvalue()


def files_in(folder: str) -> Save:
    """Keeps arrays as files of a folder, for `map_file`."""
    paths = (os.path.join(folder, f"{number}.npy") for number in itertools.count())

    def save(array: npt.NDArray[Any]) -> str:
        path = next(paths)
        np.save(path, array, allow_pickle=False)
        return path

    return save


def map_file(path: str) -> npt.NDArray[Any]:
    """The array of a file, its memory shared with every process that only reads it."""
    array: npt.NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return array


def unpack(content: bytes, find: Find = map_file) -> Setups:
    """The inverse of `pack`; plug-ins that were registered there are registered here.

    A dataset keeps read-only memory as it is, since no training writes to it. Of any other array a copy is made.
    """
    added, setups = _Unpickler(io.BytesIO(content), find).load()
    for kind, plugin in added:
        REGISTRIES[kind].register(plugin.name, version=plugin.version, **plugin.facts)(plugin.factory)
    return setups  # type: ignore[no-any-return]


def _added_plugins() -> list[tuple[str, Plugin[Any]]]:
    """Plug-ins registered outside this package, such as in a user's script."""
    found = [(kind, plugin) for kind, registry in REGISTRIES.items() for plugin in registry]
    return [(kind, plugin) for kind, plugin in found if not plugin.origin.startswith("emc.")]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles by cloudpickle, but large arrays apart, registries by name, and by value what no import would find."""

    def __init__(self, file: io.BytesIO, save: Save, large: int) -> None:
        super().__init__(file)
        self._save, self._large = save, large
        self._kept: dict[int, tuple[Any, _Kept]] = {}  # with the object, whose id is then nobody else's
        self._read: set[int] = set()
        self._modules: dict[str, ModuleType | None] = {}

    def forget(self) -> None:
        """Leave cloudpickle as it was."""
        for module in self._modules.values():
            if module is not None:
                cloudpickle.unregister_pickle_by_value(module)
        self._modules.clear()

    def persistent_id(self, obj: Any) -> _Kept | None:
        """What stands for an object that is kept apart; see `pickle.Pickler.persistent_id`."""
        if isinstance(obj, Dataset | HeldOut | Rows):
            self._read |= {id(value) for value in vars(obj).values()}
        if type(obj) is torch.Tensor and _is_plain(obj) and obj.untyped_storage().nbytes() >= self._large:
            return self._keep(obj, obj.numpy())
        if type(obj) is np.ndarray and obj.nbytes >= self._large and not obj.dtype.hasobject:
            return self._keep(obj, obj)
        return None

    def _keep(self, obj: Any, array: npt.NDArray[Any]) -> _Kept:
        if id(obj) not in self._kept:
            kept = _Kept(self._save(array), isinstance(obj, torch.Tensor), id(obj) in self._read)
            self._kept[id(obj)] = obj, kept
        return self._kept[id(obj)][1]

    def reducer_override(self, obj: Any) -> Any:
        """How an object is pickled; see `pickle.Pickler.reducer_override`."""
        if isinstance(obj, Registry) and REGISTRIES.get(obj.kind) is obj:
            return _registry, (obj.kind,)
        name = obj.__module__ if isinstance(obj, FunctionType | type) else None
        name = obj.__name__ if isinstance(obj, ModuleType) else name
        if name and name not in self._modules:
            self._modules[name] = module = _out_of_reach(name)
            if module is not None:
                cloudpickle.register_pickle_by_value(module)
        return super().reducer_override(obj)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, find: Find) -> None:
        super().__init__(file)
        self._find = find
        self._found: dict[_Kept, Any] = {}

    def persistent_load(self, pid: Any) -> Any:
        """The object that was kept apart; see `pickle.Unpickler.persistent_load`."""
        if pid not in self._found:
            array = self._find(pid.key)
            if not array.flags.writeable and not pid.read:
                array = array.copy()
            self._found[pid] = _as_tensor(array) if pid.tensor else array
        return self._found[pid]


@dataclass(frozen=True)
class _Kept:
    """Stands for a large array.

    Attributes:
        key: finds it.
        tensor: whether it was one.
        read: whether it is a dataset's, which is read only.
    """

    key: Hashable
    tensor: bool
    read: bool


def _as_tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def _out_of_reach(name: str) -> ModuleType | None:
    """A module that was loaded from a file that no import finds by this name; None for any other."""
    top = name.partition(".")[0]
    found = name == "__main__" or any(finder.find_spec(top, None) for finder in sys.meta_path)
    module = sys.modules.get(name)
    return module if not found and getattr(module, "__file__", None) else None


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is nothing more than the array that numpy sees."""
    numbers = tensor.dtype is not torch.bfloat16 and not tensor.is_conj() and not tensor.is_neg()
    return tensor.device.type == "cpu" and tensor.layout is torch.strided and not tensor.requires_grad and numbers


def _registry(kind: str) -> Registry[Any]:
    return REGISTRIES[kind]
