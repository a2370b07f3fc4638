"""theta = theta_0 + P z, and an exact count of what a linear model fits in a subspace."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
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
SIZES = (7, 2 * DIM + 1, 11)


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


def is_separable(prepared: Prepared, probe: Probe) -> bool:
    """Whether some z gives every sample the right sign, by a linear program on the probe's own P and theta_0."""
    module = prepared.setup.fresh_model(probe).double()
    X, y = prepared.setup.samples(probe).first(probe.n)

    def difference(z: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            module.z.copy_(z)
            logits = module(X.double())
        return (logits[:, 1] - logits[:, 0]) * (2 * y - 1)

    offset = difference(torch.zeros(DIM)).numpy()
    A = np.stack([difference(z).numpy() - offset for z in torch.eye(DIM)], axis=1)
    # maximise t <= 1 such that offset + A z >= t
    bounds = [(None, None)] * DIM + [(None, 1.0)]
    solved = linprog([0.0] * DIM + [-1.0], A_ub=np.hstack([-A, np.ones((len(A), 1))]), b_ub=offset, bounds=bounds)
    assert solved.status == 0
    return bool(solved.x[-1] > 1e-7)


def test_a_linear_model_in_a_subspace_fits_what_cover_s_theorem_says(
    make_prepared: Callable[..., Prepared], train: Callable[..., list[ProbeResult]]
) -> None:
    """Of two classes, sign(w . x + b) with (w, b) = delta_0 + A z: the dichotomies of dim + 1 coordinates whose first

    coefficient is above 0. Those above and below are mirrored, their union is all, C(n, dim + 1), and they have the
    C(n, dim) in common where it may be 0: so (C(n, dim + 1) + C(n, dim)) / 2 of all 2^n. Half of them at 2 dim + 1.
    """
    prepared = make_prepared(
        model="linear",
        data=f"gaussian:dim={FEATURES},size=200",
        classes=2,
        reparam=f"subspace:dim={DIM},normalise=false",
        optimizer="lbfgs",
        min_steps=300,
        stall_share=0.1,
    )
    draws = 20
    probes = [Probe(prepared.base, n, replicate) for n in SIZES for replicate in range(draws)]
    found = train(SingleTrainer(prepared.setup), probes)
    fitted = [result.verdict is Verdict.FITTED for result in found]
    truth = [is_separable(prepared, probe) for probe in probes]
    assert not any(fit and not possible for fit, possible in zip(fitted, truth, strict=True))
    assert sum(truth) - sum(fitted) <= 1  # the narrowest margins take the longest
    for place, n in enumerate(SIZES):
        probability = (cover.separable(n, DIM) + cover.separable(n, DIM - 1)) / 2
        fewest, most = acceptance(draws, probability, 0.99)
        assert fewest <= sum(truth[place * draws : (place + 1) * draws]) <= most
    assert (cover.separable(9, 4) + cover.separable(9, 3)) / 2 == 0.5
