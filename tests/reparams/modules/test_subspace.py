"""theta = theta_0 + P z, and an exact count of what a linear model fits in a subspace."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy.optimize import linprog
from torch import nn
from torch.nn import functional

from emc.api import Prepared
from emc.reparams.modules.subspace import Subspace
from emc.results import ProbeResult, Verdict
from emc.specs import Probe
from emc.stats import cover
from emc.stats.proportions import acceptance
from emc.training.single import SingleTrainer

Make = Callable[..., nn.Module]
DIM, FEATURES = 4, 6
SIZES = (6, 2 * DIM, 10)


@pytest.mark.parametrize("projection", ["dense", "sparse", "fastfood", "kronecker"])
def test_it_starts_at_the_model_itself_and_its_gradient_is_projected(make: Make, projection: str) -> None:
    module = make(f"subspace:dim=30,projection={projection}").double()
    assert isinstance(module, Subspace)
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(20, 1, 8, 8, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (20,), generator=generator)
    assert torch.equal(module(X), module.inner(X))
    functional.cross_entropy(module(X), y).backward()
    module.inner.requires_grad_(True)
    loss = functional.cross_entropy(module.inner(X), y)
    own = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.inner.parameters()))])
    P = torch.stack([module.projection(z) for z in torch.eye(30, dtype=torch.float64)], dim=1)
    assert module.z.grad is not None
    torch.testing.assert_close(module.z.grad, P.T @ own, rtol=1e-10, atol=1e-12)


def test_a_square_projection_reaches_every_parameter(make: Make) -> None:
    module = make("subspace:343").double()
    assert isinstance(module, Subspace)
    target = torch.randn(343, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    P = torch.stack([module.projection(z) for z in torch.eye(343, dtype=torch.float64)], dim=1)
    start = torch.cat([p.detach().flatten() for p in module.inner.parameters()])
    with torch.no_grad():
        module.z.copy_(torch.linalg.solve(P, target - start))
    reached = torch.cat([tensor.detach().flatten() for tensor in module.tensors().values()])
    torch.testing.assert_close(reached, target, rtol=1e-6, atol=1e-6)


def test_columns_that_are_not_normalised_are_longer_by_the_root_of_the_parameters(make: Make) -> None:
    short, long = make("subspace:5"), make("subspace:dim=5,normalise=false")
    with torch.no_grad():
        short.z.fill_(1.0), long.z.fill_(343**-0.5)
    X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(short(X), long(X))


def test_only_what_is_trainable_is_moved(make: Make) -> None:
    module = make("subspace:5", "random_features:dim=20")
    assert [name for name, p in module.named_parameters() if p.requires_grad] == ["z"]
    assert list(module.tensors()) == ["2.weight"]


def zeros(shape: tuple[int, ...], classes: int) -> nn.Module:
    """A linear model with theta_0 = 0."""
    module = nn.Linear(shape[0], classes)
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def is_separable(prepared: Prepared, probe: Probe) -> bool:
    """Whether some z gives every sample the right sign, by a linear program on the probe's own P."""
    module = prepared.setup.fresh_model(probe).double()
    X, y = prepared.setup.samples(probe).first(probe.n)
    columns = []
    for z in torch.eye(DIM):
        with torch.no_grad():
            module.z.copy_(z)
            logits = module(X.double())
        columns.append((logits[:, 1] - logits[:, 0]) * (2 * y - 1))
    A = torch.stack(columns, dim=1).numpy()
    solved = linprog([0.0] * DIM, A_ub=-A, b_ub=[-1.0] * len(A), bounds=(None, None))
    assert solved.status in (0, 2), "feasible or infeasible"
    return bool(solved.status == 0)


def test_a_linear_model_in_a_subspace_fits_what_cover_s_theorem_says(
    make_prepared: Callable[..., Prepared], train: Callable[..., list[ProbeResult]]
) -> None:
    """With theta_0 = 0 and two classes, a sample's sign is that of (P'x) . z: a hyperplane through 0 in dim

    coordinates. Of all 2^n labels C(n, dim) are separable, half of them at n = 2 dim: not the 14 parameters count.
    """
    prepared = make_prepared(
        zeros,
        data=f"gaussian:dim={FEATURES},size=200",
        classes=2,
        reparam=f"subspace:dim={DIM},normalise=false",
        optimizer="lbfgs",
        min_steps=300,
        stall_share=0.1,
    )
    draws = 20
    probes = [Probe(prepared.base, n, replicate) for n in SIZES for replicate in range(draws)]
    fitted = [result.verdict is Verdict.FITTED for result in train(SingleTrainer(prepared.setup), probes)]
    assert fitted == [is_separable(prepared, probe) for probe in probes]
    for place, n in enumerate(SIZES):
        fewest, most = acceptance(draws, cover.separable(n, DIM - 1), 0.99)
        assert fewest <= sum(fitted[place * draws : (place + 1) * draws]) <= most
    assert cover.separable(2 * DIM, DIM - 1) == 0.5
