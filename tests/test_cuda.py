"""What differs on a GPU: the same trainings there, held against the CPU's and against themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from drives import trained

import emc
from emc.api import Prepared, prepare
from emc.executors.choice import choose
from emc.executors.inline import InlineExecutor
from emc.models import MODELS
from emc.optimizers import OPTIMIZERS
from emc.results import EmcResult, Evidence, Verdict
from emc.specs import Execution, Measurement, Probe
from emc.training.lockstep import LockstepTrainer
from emc.training.single import SingleTrainer

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="there is no GPU, or it is not shown"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore:.torch.jit:FutureWarning"),
]

SMALL = {"min_steps": 200, "max_epochs": 1, "check_steps": 50, "polish_steps": 5}


@pytest.fixture(autouse=True)
def all_memory() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


#: The full EfficientNet-B0 ends at maps of one pixel on digits, where BatchNorm sees eight numbers a channel: on an
#: H100 it did not fit eight samples within 3,000 steps.
REDUCED = {"efficientnet": "efficientnet:width=0.1,stages=3,divisor=1"}


def ready(device: str = "cuda", **settings: Any) -> Prepared:
    values = SMALL | {"data": "digits", "labels": "random"} | settings
    return prepare(Measurement.from_flat(values), execution=Execution(device=device))


def around(sizes: Sequence[int], replicates: int = 5) -> list[Probe]:
    return [Probe("base", n, r) for n in sizes for r in range(replicates)]


@pytest.mark.parametrize("name", MODELS.names())
def test_every_model_starts_as_on_the_cpu(name: str) -> None:
    if any(option.required for option in MODELS.get(name).options):
        pytest.skip("it has no default form")
    here, there = ready(model=name).setup, ready("cpu", model=name).setup
    probe = Probe("base", 20, 1)
    ours, theirs = here.fresh_model(probe), there.fresh_model(probe)
    assert next(ours.parameters()).is_cuda
    for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.equal(one.cpu(), other)
    X, _ = here.samples(probe).first(20)
    logits = ours.double().eval()(X.double())
    torch.testing.assert_close(logits.cpu(), theirs.double().eval()(X.cpu().double()), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", MODELS.names())
def test_every_model_fits_what_chance_does_not(name: str) -> None:
    """Eight random labels out of ten classes."""
    if any(option.required for option in MODELS.get(name).options):
        pytest.skip("it has no default form")
    setup = ready(model=REDUCED.get(name, name), min_steps=3_000).setup
    executor = InlineExecutor({"base": setup}, Execution(device="cuda"))
    verdicts = [result.verdict for result in trained(executor, around([8], 2))]
    assert verdicts == [Verdict.FITTED] * 2, choose(setup, "auto")


@pytest.mark.parametrize("name", [plugin.name for plugin in OPTIMIZERS if plugin.name != "lstsq"])
def test_every_optimizer_fits_what_chance_does_not(name: str) -> None:
    setup = ready(model="mlp:width=16,depth=2", optimizer=name, min_steps=3_000).setup
    executor = InlineExecutor({"base": setup}, Execution(device="cuda"))
    assert [result.verdict for result in trained(executor, around([8], 2))] == [Verdict.FITTED] * 2


@pytest.mark.parametrize(
    "reparam",
    [
        *(f"subspace:dim=100,projection={kind}" for kind in ("dense", "sparse", "fastfood", "kronecker")),
        *("precision:bf16", "precision:fp16", "precision:int8", "precision:int4"),
        *("prune:0.5,rule=random", "prune:0.5,rule=magnitude", "prune:0.5,rule=lottery"),
    ],
)
def test_every_reparameterisation_fits_what_chance_does_not(reparam: str) -> None:
    setup = ready(model="mlp:width=16", reparam=reparam, optimizer="adam:lr=0.01", min_steps=3_000).setup
    executor = InlineExecutor({"base": setup}, Execution(device="cuda"))
    assert [result.verdict for result in trained(executor, around([8], 2))] == [Verdict.FITTED] * 2


@pytest.mark.parametrize("augment", ["flip", "crop", "flip_crop"])
def test_augmented_batches_train_there(augment: str) -> None:
    settings: dict[str, Any] = {"model": "cnn:width=8", "augment": augment, "clip_norm": 1.0, "label_smoothing": 0.1}
    setup = ready(**settings, min_steps=3_000).setup
    executor = InlineExecutor({"base": setup}, Execution(device="cuda"))
    assert [result.verdict for result in trained(executor, around([8], 2))] == [Verdict.FITTED] * 2


@pytest.mark.parametrize(
    ("model", "sizes"), [("linear", (60, 140, 250)), ("mlp:width=4", (10, 24, 40)), ("cnn:width=3", (24, 160, 900))]
)
def test_agrees_with_the_cpu_and_stacks_with_single(model: str, sizes: tuple[int, ...]) -> None:
    """In float64, where rounding moves no verdict of so short a training."""
    settings: dict[str, Any] = {"model": model, "optimizer": "adam:lr=0.01", "precision": "float64", "min_steps": 400}
    probes = around(sizes)
    setup = ready(**settings).setup
    stacked, single = trained(LockstepTrainer(setup, 16), probes), trained(SingleTrainer(setup), probes[::3])
    cpu = trained(SingleTrainer(ready("cpu", **settings).setup), probes[::3])
    assert {result.verdict for result in stacked} == {Verdict.FITTED, Verdict.NOT_FITTED}
    assert [result.verdict for result in stacked[::3]] == [result.verdict for result in single]
    assert [result.verdict for result in cpu] == [result.verdict for result in single]


@pytest.mark.parametrize("model", ["mlp:width=6", "cnn:width=3"])
def test_one_stack_layout_gives_one_result(model: str) -> None:
    setup = ready(model=model).setup
    assert trained(LockstepTrainer(setup, 8), around((20, 30, 40))) == trained(
        LockstepTrainer(setup, 8), around((20, 30, 40))
    )


def test_too_little_memory_splits_the_stack_and_changes_no_verdict() -> None:
    setup = ready(model="mlp:width=4096", batch_size=64).setup
    probes = around((32, 64), 8)
    expected = [result.verdict for result in trained(LockstepTrainer(setup, 16), probes)]
    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated() + 200 * 2**20
    torch.cuda.set_per_process_memory_fraction(held / torch.cuda.get_device_properties(0).total_memory)
    assert [result.verdict for result in trained(LockstepTrainer(setup, 16), probes)] == expected


def test_evidence_is_found_there() -> None:
    settings: dict[str, Any] = {"model": "mlp:width=4", "activation": "tanh", "optimizer": "lbfgs", "min_steps": 3_000}
    setup = ready(**settings, polish_steps=200).setup
    kinds = {result.evidence for result in trained(SingleTrainer(setup), around([200], 4))}
    assert kinds <= {Evidence.MINIMUM, Evidence.SADDLE, Evidence.STATIONARY, Evidence.NOISE_FLOOR, Evidence.BUDGET}
    assert kinds & {Evidence.MINIMUM, Evidence.SADDLE, Evidence.STATIONARY}


@pytest.mark.parametrize("model", ["mlp:width=8", "cnn:width=3"])
def test_a_measurement_continues_from_its_journal(model: str, tmp_path: Path) -> None:
    def measured() -> EmcResult:
        settings: dict[str, Any] = SMALL | {"data": "digits", "labels": "random", "replicates": 3, "n_max": 64}
        return emc.measure(model=model, journal=tmp_path / "journal.jsonl", device="cuda", **settings)

    first, again = measured(), measured()
    assert first.versions["device"] == "cuda"
    assert again.emc == first.emc
    assert [probe.to_dict() for probe in again.probes] == [probe.to_dict() for probe in first.probes]
