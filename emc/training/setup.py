"""A resolved measurement, ready to train: what every trainer needs to know."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from emc.optimizers.plan import OptimizerPlan
from emc.seeds import init_seed
from emc.specs import Probe, Procedure
from emc.training.augmentations import AUGMENTATIONS
from emc.training.losses import Loss
from emc.training.samples import Pool, Samples
from emc.training.schedules import Schedule

if TYPE_CHECKING:
    from torch import nn

    from emc.training.augmentations import Augment
    from emc.training.opaque import Opaque


@dataclass(frozen=True, eq=False)
class Setup:
    """What a probe is trained with.

    Attributes:
        procedure: the numbers of the procedure.
        pool: the samples.
        seed: of the measurement.
        make_model: makes a fresh module from PyTorch's global generator, which is left as it was.
        plan: the optimizer.
        make_schedule: makes a fresh schedule for one probe.
        linear: logits are affine in the inputs and unconstrained.
        loss_goal: mean training loss at which a probe is fitted; None where every sample has to be right.
        trains_conflicts: whether samples that cannot all be fitted are trained on, since not all of them have to be.
        identified: whether its probes have an identity that outlives this process; others are not journaled.
        training: a training that emc cannot look into, in place of model, optimizer and schedule; None for emc's own.
    """

    procedure: Procedure
    pool: Pool
    seed: int
    make_model: Callable[[], nn.Module]
    plan: OptimizerPlan
    make_schedule: Callable[[], Schedule]
    linear: bool = False
    loss_goal: float | None = None
    trains_conflicts: bool = False
    identified: bool = True
    training: Opaque | None = None

    @cached_property
    def architecture(self) -> str:
        """The layers of the model, with their sizes and options."""
        return repr(self.make_model())

    @property
    def loss(self) -> Loss:
        """What is descended and counted."""
        return Loss(self.procedure.loss, self.procedure.label_smoothing)

    def augment(self) -> Augment | None:
        """What changes a batch's inputs in training; None where nothing does."""
        spec = self.procedure.augment
        return None if spec is None else AUGMENTATIONS.build(spec)

    @property
    def model_key(self) -> tuple[Hashable, ...]:
        """Equal for setups whose models differ by their init alone; a model without source equals only itself."""
        procedure = self.procedure
        own = None if self.identified else self.make_model
        named = procedure.model, procedure.activation, procedure.init, procedure.reparam
        return *named, own, self.architecture, self.pool.dataset.facts.shape

    def batch_size(self, n: int) -> int:
        """Samples a step at n samples."""
        return n if self.plan.full_batch else min(n, self.procedure.batch_size)

    def budget(self, n: int) -> int:
        """Steps after which a probe of n samples ends; a training that emc cannot look into is one."""
        return 1 if self.plan.solve is not None or self.training is not None else self.allowance(n)

    def allowance(self, n: int) -> int:
        """Steps that the procedure allows at n samples."""
        return self.procedure.budget(n, self.batch_size(n))

    def step_size(self, n: int) -> int:
        """Samples that one of the `budget` steps sees, each pass over its batch counted."""
        return n if self.training is not None else self.plan.passes * self.batch_size(n)

    def check_every(self, n: int) -> int:
        """Steps between exact counts: `check_steps` times the power of two that covers `check_epochs`.

        Powers of two keep the members of a stack in step.
        """
        least = self.procedure.check_every(n, self.batch_size(n))
        return self.procedure.check_steps << math.ceil(math.log2(least / self.procedure.check_steps))

    def samples(self, probe: Probe) -> Samples:
        """The samples of the probe's replicate."""
        return self.pool.samples(probe.replicate)

    def fresh_model(self, probe: Probe) -> nn.Module:
        """The probe's fresh initialisation, on the device; PyTorch's global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            _seed(init_seed(self.seed, probe.n, probe.replicate, probe.attempt))
            module = self.make_model()
        return module.to(self.pool.device, self.pool.dtype)


def _seed(seed: int) -> None:
    """Seed PyTorch's global generators, as `torch.manual_seed` does.

    Where CUDA is not in use, that would write down the stack for later, which takes longer than making a small model.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


#: What trains: one setup for every probe, or several by `Probe.base`.
Setups = Setup | Mapping[str, Setup]


def setup_of(setups: Setups, probe: Probe) -> Setup:
    """What a probe is trained with."""
    return setups if isinstance(setups, Setup) else setups[probe.base]


def all_setups(setups: Setups) -> list[Setup]:
    """Each of them."""
    return [setups] if isinstance(setups, Setup) else list(setups.values())
