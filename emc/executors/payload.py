"""What trains, as bytes for another process: closures by cloudpickle, large arrays in files that all processes map."""

from __future__ import annotations

import io
import os
import sys
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle
import numpy as np
import numpy.typing as npt
import torch

from emc.data.regimes import INPUTS, LABELS
from emc.errors import SpecError
from emc.models import MODELS
from emc.models.activations import ACTIVATIONS
from emc.optimizers import OPTIMIZERS
from emc.registry import Plugin, Registry
from emc.training.schedules import SCHEDULES
from emc.training.setup import Setups

#: Bytes from which an array goes into a file of its own.
LARGE = 1 << 20

#: The registries that a training looks names up in; another process has its own, without this one's additions.
REGISTRIES: dict[str, Registry[Any]] = {
    registry.kind: registry for registry in (LABELS, INPUTS, MODELS, ACTIVATIONS, OPTIMIZERS, SCHEDULES)
}


def pack(setups: Setups, folder: str) -> bytes:
    """What trains, for `unpack` in another process on this machine.

    Args:
        setups: on the CPU.
        folder: takes the large arrays, each once; it must last as long as what was unpacked is used.

    Raises:
        SpecError: a user's model or data cannot be handed to another process.
        OSError: a file cannot be written.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, folder)
    try:
        pickler.dump((_added_plugins(), setups))
    except OSError:
        raise
    except Exception as error:  # whatever a user's own objects may raise
        message = str(error).split("\n")[0]
        raise SpecError(
            f"training in processes needs a model that can be pickled, got {type(error).__name__}: {message}; "
            "leave out what it cannot do without, or use --workers 1"
        ) from error
    finally:
        pickler.forget()
    return buffer.getvalue()


def unpack(content: bytes) -> Setups:
    """The inverse of `pack`; plug-ins that were registered there are registered here."""
    added, setups = cloudpickle.loads(content)
    for kind, plugin in added:
        REGISTRIES[kind].register(plugin.name, version=plugin.version, **plugin.facts)(plugin.factory)
    return setups  # type: ignore[no-any-return]


def _added_plugins() -> list[tuple[str, Plugin[Any]]]:
    """Plug-ins registered outside this package, such as in a user's script."""
    found = [(kind, plugin) for kind, registry in REGISTRIES.items() for plugin in registry]
    return [(kind, plugin) for kind, plugin in found if not plugin.origin.startswith("emc.")]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles by cloudpickle, but large arrays as files, registries by name, and by value what no import would find."""

    def __init__(self, file: io.BytesIO, folder: str) -> None:
        super().__init__(file)
        self._folder = folder
        self._files = 0
        self._modules: dict[str, ModuleType | None] = {}

    def forget(self) -> None:
        """Leave cloudpickle as it was."""
        for module in self._modules.values():
            if module is not None:
                cloudpickle.unregister_pickle_by_value(module)
        self._modules.clear()

    def reducer_override(self, obj: Any) -> Any:
        """How an object is pickled; see `pickle.Pickler.reducer_override`."""
        if type(obj) is torch.Tensor and _is_plain(obj) and obj.untyped_storage().nbytes() >= LARGE:
            return _map_tensor, (self._save(obj.numpy()),)
        if type(obj) is np.ndarray and obj.nbytes >= LARGE and not obj.dtype.hasobject:
            return _map_array, (self._save(obj),)
        if isinstance(obj, Registry) and REGISTRIES.get(obj.kind) is obj:
            return _registry, (obj.kind,)
        if isinstance(obj, FunctionType | type) and obj.__module__ and obj.__module__ not in self._modules:
            self._modules[obj.__module__] = module = _out_of_reach(obj.__module__)
            if module is not None:
                cloudpickle.register_pickle_by_value(module)
        return super().reducer_override(obj)

    def _save(self, array: npt.NDArray[Any]) -> str:
        path = os.path.join(self._folder, f"{self._files}.npy")
        self._files += 1
        np.save(path, array, allow_pickle=False)
        return path


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


def _map_array(path: str) -> npt.NDArray[Any]:
    """The array of a file, its memory shared with every process that only reads it."""
    array: npt.NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return array


def _map_tensor(path: str) -> torch.Tensor:
    return torch.from_numpy(_map_array(path))


def _registry(kind: str) -> Registry[Any]:
    return REGISTRIES[kind]
