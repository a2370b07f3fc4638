"""Compiled steps and counts against PyTorch's own modules, optimizers and losses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
import torch
from scipy.special import ndtr
from torch import Tensor, nn

from emc.optimizers import OPTIMIZERS
from emc.optimizers.plan import UpdateKind
from emc.registry import PluginSpec
from emc.training import counting, kernels
from emc.training.chain import Activation, Layer, chain_of
from emc.training.compiled import LOSSES
from emc.training.losses import CROSS_ENTROPY, Loss, loss_of

NETS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 3)),
    "relu": lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)),
    "leaky_relu": lambda: nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(0.3), nn.Linear(5, 3)),
    "gelu": lambda: nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 3)),
    "gelu_tanh": lambda: nn.Sequential(nn.Linear(6, 5), nn.GELU("tanh"), nn.Linear(5, 3)),
    "silu": lambda: nn.Sequential(nn.Linear(6, 5), nn.SiLU(), nn.Linear(5, 3)),
    "elu": lambda: nn.Sequential(nn.Linear(6, 5), nn.ELU(0.7), nn.Linear(5, 3)),
    "tanh": lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)),
    "sigmoid": lambda: nn.Sequential(nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 3)),
    "identity": lambda: nn.Sequential(nn.Linear(6, 5), nn.Identity(), nn.Linear(5, 3)),
    "cnn": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.Tanh(),
        nn.Linear(5, 3),
    ),
    "convolutions alone": lambda: nn.Sequential(
        nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 3, 3, padding=1), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()
    ),
    "pools": lambda: nn.Sequential(
        nn.MaxPool2d(2), nn.AdaptiveAvgPool2d((3, 2)), nn.Conv2d(2, 2, 3, padding=1), nn.Flatten(), nn.Linear(12, 3)
    ),
    "deep": lambda: nn.Sequential(
        nn.Linear(6, 7, bias=False), nn.ReLU(), nn.Linear(7, 4), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3), nn.ELU()
    ),
}
UPDATES = [
    "sgd:lr=0.1",
    "sgd:lr=0.1,momentum=0",
    "gd:lr=0.1,weight_decay=0.1",
    "adam:lr=0.01",
    "adam:lr=0.01,weight_decay=0.1",
    "adamw:lr=0.01,weight_decay=0.1,beta1=0.8,beta2=0.9,eps=0.001",
]


def is_on_images(module: nn.Module) -> bool:
    return any(isinstance(child, nn.Conv2d | nn.MaxPool2d) for child in module)


def shape_of(module: nn.Module) -> tuple[int, ...]:
    return (2, 7, 5) if is_on_images(module) else (6,)


def data(
    shape: tuple[int, ...] = (6,), rows: int = 40, n: int = 25, batches: tuple[int, int] = (7, 9)
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    store = torch.randn(rows, *shape, generator=generator, dtype=torch.float64)
    index = torch.randperm(rows, generator=generator)[:n]
    y = torch.randint(3, (n,), generator=generator)
    return store, index, y, torch.randint(n, batches, generator=generator)


def compiled(
    module: nn.Module,
    optimizer: str,
    loss: str,
    batches: Tensor,
    calls: int = 1,
    whole: bool = False,
    at_once: int | None = None,
) -> np.ndarray:
    """The parameters after the steps of `batches`, in some calls."""
    store, index, y, _ = data(shape_of(module))
    chain, plan = chain_of(module, shape_of(module)), OPTIMIZERS.build(PluginSpec.parse(optimizer))
    assert chain is not None
    assert plan.update is not None
    flat = nn.utils.parameters_to_vector(module.parameters()).detach().numpy().copy()
    state = np.zeros((2, len(flat)))
    samples = store.flatten(1).numpy(), index.numpy(), y.numpy()
    at_once = batches.shape[1] if at_once is None else at_once
    done = 0
    for part in batches.tensor_split(calls):
        positions = part[:1] if whole else part
        update = int(plan.update.kind), np.array(plan.update.numbers), plan.lr
        drawn = positions.contiguous().numpy(), whole, len(part), at_once
        kernels.train(*samples, *drawn, flat, state, done, chain.form, LOSSES.index(loss), *update)
        done += len(part)
    return flat


def expected(module: nn.Module, optimizer: str, loss: str, batches: Tensor) -> np.ndarray:
    """The same by PyTorch."""
    store, index, y, _ = data(shape_of(module))
    module = copy.deepcopy(module)
    descent = OPTIMIZERS.build(PluginSpec.parse(optimizer)).build(module.parameters())
    for batch in batches:
        descent.zero_grad()
        loss_of(Loss(loss), module(store[index[batch]]), y[batch]).backward()
        descent.step()
    return nn.utils.parameters_to_vector(module.parameters()).detach().numpy()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", NETS)
def test_every_activation_and_loss(name: str, loss: str) -> None:
    torch.manual_seed(1)
    module = NETS[name]().double()
    batches = data()[3]
    found = compiled(module, "sgd:lr=0.1", loss, batches)
    np.testing.assert_allclose(found, expected(module, "sgd:lr=0.1", loss, batches), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", UPDATES)
@pytest.mark.parametrize("name", ["linear", "deep", "cnn"])
def test_every_update(name: str, optimizer: str) -> None:
    torch.manual_seed(1)
    module = NETS[name]().double()
    batches = data()[3]
    found = compiled(module, optimizer, "cross_entropy", batches)
    np.testing.assert_allclose(found, expected(module, optimizer, "cross_entropy", batches), rtol=1e-8, atol=1e-11)


def test_calls_may_be_cut_anywhere() -> None:
    torch.manual_seed(1)
    module = NETS["deep"]().double()
    batches = data()[3]
    together = compiled(module, "adam", "cross_entropy", batches)
    assert (compiled(module, "adam", "cross_entropy", batches, calls=3) == together).all()


@pytest.mark.parametrize("name", ["deep", "cnn"])
def test_a_batch_may_go_through_in_parts(name: str) -> None:
    torch.manual_seed(1)
    module = NETS[name]().double()
    together = compiled(module, "adam", "cross_entropy", data()[3])
    for at_once in (1, 4, 9):
        parts = compiled(module, "adam", "cross_entropy", data()[3], at_once=at_once)
        np.testing.assert_allclose(parts, together, rtol=1e-9, atol=1e-12)
    batches = torch.arange(25).repeat(3, 1)
    whole = compiled(module, "adam", "cross_entropy", batches, whole=True, at_once=4)
    assert (whole == compiled(module, "adam", "cross_entropy", batches, at_once=4)).all()


def test_whole_batches_are_gathered_once() -> None:
    torch.manual_seed(1)
    module = NETS["relu"]().double()
    batches = torch.arange(25).repeat(6, 1)
    once = compiled(module, "adam", "cross_entropy", batches, whole=True)
    assert (once == compiled(module, "adam", "cross_entropy", batches)).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("chunk", [4, 25, 256])
@pytest.mark.parametrize("name", ["linear", "deep", "cnn"])
def test_counts(name: str, chunk: int, loss: str) -> None:
    torch.manual_seed(1)
    module = NETS[name]().double()
    store, index, y, _ = data(shape_of(module))
    chain = chain_of(module, shape_of(module))
    assert chain is not None
    flat = nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
    samples = store.flatten(1).numpy(), index.numpy(), y.numpy()
    right, total = kernels.count(*samples, chunk, flat, chain.form, LOSSES.index(loss))
    same_right, mean = counting.count(module, store, index, y, Loss(loss))
    assert 0 < right < 25
    assert (right, total / 25) == (same_right, pytest.approx(mean, rel=1e-12))


@pytest.mark.parametrize(
    "logits",
    [
        [1.0, 1.0, 0.0],
        [np.nan, 0.0, 0.0],
        [1.0, np.nan, 0.0],
        [np.inf, 0.0, 0.0],
        [1.0, -np.inf, 0.0],
        [1.0, np.inf, 0.0],
        [2.0, 1.0, 0.0],
        [0.0, 1.0, 0.0],
    ],
)
def test_ties_and_numbers_that_are_none_are_wrong(logits: list[float]) -> None:
    """A model of biases alone gives any logits."""
    chain = chain_of(nn.Sequential(nn.Linear(1, 3)), (1,))
    assert chain is not None
    samples = np.zeros((1, 1)), np.zeros(1, np.int64), np.zeros(1, np.int64)
    right, total = kernels.count(*samples, 256, np.array([0.0, 0.0, 0.0, *logits]), chain.form, 0)
    assert right == int(counting.is_right(torch.tensor([logits]), torch.tensor([0])).sum())
    own = loss_of(CROSS_ENTROPY, torch.tensor([logits], dtype=torch.float64), torch.tensor([0]))
    assert np.isfinite(total) == bool(own.isfinite())


def test_a_divergence_is_seen() -> None:
    torch.manual_seed(1)
    module = NETS["relu"]().double()
    flat = compiled(module, "sgd:lr=1e200", "squared", data()[3])
    assert not np.isfinite(flat).all()


@numba.njit
def apply_exp(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = kernels.exp(x[i])
    return out


@numba.njit
def apply_tanh(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = kernels.tanh(x[i])
    return out


@numba.njit
def apply_normal(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = kernels.normal(x[i])
    return out


@pytest.mark.parametrize(
    ("own", "exact", "reach", "tolerance"),
    [(apply_exp, np.exp, 87.0, 2.4e-7), (apply_tanh, np.tanh, 12.0, 3e-7), (apply_normal, ndtr, 5.0, 4e-6)],
)
def test_float32_functions_against_float64(
    own: Callable[[np.ndarray], np.ndarray], exact: Callable[[np.ndarray], np.ndarray], reach: float, tolerance: float
) -> None:
    x = np.linspace(-reach, reach, 400_001, dtype=np.float32)
    near_zero = np.geomspace(1e-30, 1, 10_001, dtype=np.float32)
    x = np.concatenate([x, near_zero, -near_zero])
    x = x[np.abs(exact(x.astype(np.float64))) > 1e-37]
    np.testing.assert_allclose(own(x), exact(x.astype(np.float64)), rtol=tolerance)


@pytest.mark.parametrize(("own", "exact"), [(apply_exp, np.exp), (apply_tanh, np.tanh), (apply_normal, ndtr)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_functions_at_the_ends(
    own: Callable[[np.ndarray], np.ndarray], exact: Callable[[np.ndarray], np.ndarray], kind: type
) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 200.0, -200.0], dtype=kind)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(own(x), exact(x), rtol=1e-6, atol=1e-37)


def test_where_no_machine_code_can_be_kept_it_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def nowhere(*arguments: Any, **options: Any) -> Any:
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*arguments, **options)

    monkeypatch.setattr(kernels.numba, "njit", nowhere)
    assert kernels._compile(lambda x: x + 1, {"contract"})(1) == 2


def test_the_numbers_written_out_are_those_of_the_enumerations() -> None:
    for member in (*Layer, *Activation, UpdateKind.MOMENTUM):
        assert getattr(kernels, member.name) == member


def test_relu_of_minus_infinity_is_zero() -> None:
    A, slopes = np.array([-np.inf, np.inf, np.nan, -1.0]), np.empty(4)
    kernels._activate(kernels.LEAKY, 0.0, A, slopes)
    np.testing.assert_array_equal(A, [0.0, np.inf, np.nan, 0.0])
