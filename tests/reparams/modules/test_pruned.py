"""Masks that stay, and lottery tickets."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from emc.api import Prepared
from emc.errors import SpecError
from emc.executors.choice import choose, seconds_a_step
from emc.reparams.modules.pruned import Lottery, Pruned, Pruning
from emc.results import ProbeResult
from emc.specs import Probe
from emc.training import single
from emc.training.checkpoints import Checkpoints
from emc.training.single import SingleTrainer

Make = Callable[..., nn.Module]
MakePrepared = Callable[..., Prepared]
Train = Callable[..., list[ProbeResult]]


def weights(module: nn.Module) -> torch.Tensor:
    assert isinstance(module, Pruned)
    return torch.cat([tensor.detach().flatten() for tensor in module.tensors().values()])


def fresh(module: nn.Module) -> torch.Tensor:
    assert isinstance(module, Pruned)
    return torch.cat([p.detach().flatten() for p in module.inner.parameters() if p.dim() >= 2])


@pytest.mark.parametrize("rule", ["random", "magnitude"])
@pytest.mark.parametrize("model", ["mlp:width=5", "cnn:width=3"])
def test_what_went_is_exactly_zero_after_training(make: Make, rule: str, model: str) -> None:
    module = make(f"prune:0.7,rule={rule}", model)
    gone = weights(module) == 0
    size = len(gone)
    assert abs(int(gone.sum()) - 0.7 * size) <= 2
    assert torch.equal(weights(module)[~gone], fresh(module)[~gone])
    descent = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    X = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        descent.zero_grad()
        module(X).square().mean().backward()
        descent.step()
    assert torch.equal(weights(module) == 0, gone)
    assert not torch.equal(weights(module)[~gone], fresh(module)[~gone])


def test_it_trains_as_a_masked_dense_model(make: Make) -> None:
    """Adam on the weights that stay takes the steps of Adam on all of them, masked before and after each step."""
    module = make("prune:0.5,rule=magnitude").double()
    dense = make("prune:0.5").double().inner.requires_grad_(True)
    masks = {name: (tensor != 0) for name, tensor in module.tensors().items()}
    X = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    descents = [torch.optim.Adam([p for p in m.parameters() if p.requires_grad], lr=0.01) for m in (module, dense)]
    named = dict(dense.named_parameters())

    def mask() -> None:
        with torch.no_grad():
            for name, kept in masks.items():
                named[name].mul_(kept)

    mask()
    for _ in range(5):
        for net, descent in zip((module, dense), descents, strict=True):
            descent.zero_grad()
            net(X).square().mean().backward()
            descent.step()
        mask()
    for name, tensor in module.tensors().items():
        torch.testing.assert_close(tensor, named[name], rtol=1e-9, atol=1e-12)


def test_magnitude_keeps_the_largest_and_layers_keep_their_share(make: Make) -> None:
    module = make("prune:0.75,rule=magnitude,scope=global")
    assert fresh(module)[weights(module) != 0].abs().min() >= fresh(module)[weights(module) == 0].abs().max()
    shares = make("prune:0.8,rule=magnitude").tensors()
    assert [int((tensor != 0).sum()) for tensor in shares.values()] == [64, 3]
    smallest = make("prune:0.999,rule=magnitude").tensors()
    assert [int((tensor != 0).sum()) for tensor in smallest.values()] == [1, 1]


def test_random_masks_differ_from_probe_to_probe(make: Make) -> None:
    masks = {tuple((weights(make("prune:0.5", seed=seed)) != 0).tolist()) for seed in range(5)}
    assert len(masks) == 5


def test_no_pruning_is_the_model_itself(make: Make) -> None:
    module = make("prune:0")
    X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(module(X), module.inner(X))


def test_a_ticket_starts_from_the_first_round_and_keeps_what_grew() -> None:
    """A training that is known: each step adds 1 to all that is trained, and 10 to the third weight."""
    inner = nn.Linear(4, 1)
    with torch.no_grad():
        inner.weight.copy_(torch.tensor([[-9.0, 0.1, 0.2, -3.0]]))
        inner.bias.fill_(0.5)
    module = Pruned(inner, Pruning(0.5, "lottery", False, Lottery(train=4, rewind=1, rounds=2)))
    called: list[tuple[str, int, int]] = []

    def train(net: nn.Module, steps: int, step: int) -> dict[str, torch.Tensor]:
        called.append((type(net).__name__, steps, step))
        kept: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            for done in range(steps + 1):
                if done == step:
                    kept = {name: p.detach().clone() for name, p in net.named_parameters()}
                if done < steps:
                    for name, parameter in net.named_parameters():
                        if parameter.requires_grad:
                            parameter.add_(1.0)
                        if name == "weight":
                            parameter[0, 2] += 10.0
        return kept

    module.prepare(train)
    assert called == [("Linear", 4, 1), ("Pruned", 4, 0)]
    # after the first round: -5, 4.1, 44.2, 1: three stay; trained from step 1: -4, 5.1, 15.2: the last two stay
    assert module.positions.tolist() == [1, 2]
    torch.testing.assert_close(weights(module), torch.tensor([0.0, 1.1, 11.2, 0.0]))
    assert inner.bias.item() == 1.5


LOTTERY = "prune:0.8,rule=lottery,train=60,rewind=20"


def settings(**changes: object) -> dict[str, object]:
    return {"model": "mlp:width=6", "reparam": LOTTERY, "min_steps": 200, "certify": "none", **changes}


def test_finding_a_ticket_counts_into_the_cost(make_prepared: MakePrepared, train: Train) -> None:
    setup = make_prepared(**settings()).setup
    (found,) = train(SingleTrainer(setup), [Probe("base", 100, 0)])
    assert found.steps == found.detail["budget"] == 200
    assert found.sample_steps == (60 + 200) * 100
    assert train(SingleTrainer(setup), [Probe("base", 100, 0)]) == [found]


def test_finding_a_ticket_is_in_the_plan_and_not_timed(
    make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, ticket = (make_prepared(**settings(reparam=spec, n_max=64)) for spec in ("prune:0.8", LOTTERY))
    assert ticket.rough_cost()["steps"] == plain.rough_cost()["steps"]
    assert ticket.rough_cost()["sample_steps"] == plain.rough_cost()["sample_steps"] * (60 + 200) / 200
    monkeypatch.setattr(Pruned, "prepare", None)
    assert seconds_a_step(ticket.setup) > 0


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_ticket_holds_the_largest_weights_of_a_plain_training_as_they_were_at_init(
    make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch, train: Train, optimizer: str
) -> None:
    """The probe's samples, batches and optimizer, for as many steps."""
    found: list[Pruned] = []
    prepare = Pruned.prepare

    def spy(module: Pruned, train: Callable[..., dict[str, torch.Tensor]]) -> None:
        prepare(module, train)
        found.append(copy.deepcopy(module))

    monkeypatch.setattr(Pruned, "prepare", spy)
    probe, same = Probe("base", 100, 0), {"optimizer": optimizer, "min_steps": 60}
    train(
        SingleTrainer(make_prepared(**settings(**same, reparam="prune:0.8,rule=lottery,train=60,scope=global")).setup),
        [probe],
    )
    plain = make_prepared(**settings(**same, reparam="prune:0"))
    trained: list[torch.Tensor] = []
    conclude = single.conclude
    monkeypatch.setattr(single, "conclude", lambda *args: (trained.append(weights(args[2])), conclude(*args))[1])
    train(SingleTrainer(plain.setup), [probe])
    (ticket,), (row,) = found, trained
    largest = row.abs().argsort(descending=True)[: len(ticket.positions)]
    assert set(largest.tolist()) == set(ticket.positions.tolist())
    assert torch.equal(weights(ticket)[ticket.positions], fresh(plain.setup.fresh_model(probe))[ticket.positions])


def test_a_ticket_goes_on_from_a_checkpoint(
    make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch, train: Train, tmp_path: Path
) -> None:
    """The mask and the weights come from the file; it is found once."""
    setup, probes = make_prepared(**settings()).setup, [Probe("base", 100, 0)]
    expected = train(SingleTrainer(setup), probes)
    calls: list[int] = []
    prepare = Pruned.prepare
    monkeypatch.setattr(Pruned, "prepare", lambda self, train: (calls.append(1), prepare(self, train))[1])
    trainer = SingleTrainer(setup, Checkpoints(str(tmp_path), 0.0))
    trainer.add(probes[0])
    for _ in range(3):
        assert trainer.advance() == []
    trainer.save()
    assert train(SingleTrainer(setup, Checkpoints(str(tmp_path), 0.0)), probes) == expected
    assert calls == [1]


def test_lottery_trains_singly(make_prepared: MakePrepared) -> None:
    setup = make_prepared(**settings()).setup
    assert choose(setup, "auto").trainer == "single"
    with pytest.raises(SpecError, match="can be stacked, but it is trained before a probe's own training begins"):
        choose(setup, "lockstep")
