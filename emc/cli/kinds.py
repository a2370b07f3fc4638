"""The kinds of plug-ins a user can name, and where their registries live."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from emc.registry import Plugin, Registry


@dataclass(frozen=True)
class Kind:
    """One kind of plug-in.

    Attributes:
        name: what `emc list` takes.
        setting: the setting that names such a plug-in.
        module, attribute: where the registry lives; imported only when asked for, so that a start-up stays short.
        note: one more thing to know of all of them.
    """

    name: str
    setting: str
    module: str
    attribute: str
    note: str = ""

    def registry(self) -> Registry[object]:
        """The registry of this kind."""
        registry: Registry[object] = getattr(import_module(self.module), self.attribute)
        return registry

    def plugins(self) -> list[Plugin[object]]:
        """Its plug-ins, sorted by name."""
        return list(self.registry())


KINDS = (
    Kind("models", "model", "emc.models", "MODELS"),
    Kind("recipes", "match_recipe", "emc.models.recipes", "RECIPES"),
    Kind("data", "data", "emc.data", "DATA"),
    Kind("optimizers", "optimizer", "emc.optimizers", "OPTIMIZERS", "lr=auto has the rate tuned (--tune)"),
    Kind("activations", "activation", "emc.models.activations", "ACTIVATIONS"),
    Kind("inits", "init", "emc.models.inits", "INITS"),
    Kind("reparams", "reparam", "emc.reparams", "REPARAMS"),
    Kind("augmentations", "augment", "emc.training.augmentations", "AUGMENTATIONS"),
    Kind("trainings", "train", "emc.trainings", "TRAININGS"),
    Kind("labels", "labels", "emc.data.regimes", "LABELS"),
    Kind("inputs", "inputs", "emc.data.regimes", "INPUTS"),
    Kind("schedules", "schedule", "emc.training.schedules", "SCHEDULES"),
    Kind("searches", "search", "emc.search.rules", "SEARCHES"),
    Kind("growth", "growth", "emc.specs", "GROWTHS"),
    Kind("tuners", "tune", "emc.tuners", "TUNERS"),
)


def kind_of_setting(setting: str) -> Kind:
    """The kind of plug-in that a setting names."""
    return next(kind for kind in KINDS if kind.setting == setting)
