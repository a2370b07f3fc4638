"""Trainings that go on from files: to the bit, or from their start where a file is of no use."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import normed_cnn

from emc.api import Prepared
from emc.executors.base import Executor
from emc.results import ProbeFailure, ProbeResult
from emc.specs import Probe
from emc.training import checkpoints
from emc.training.checkpoints import MAGIC, Checkpoints, discard, held_beside, resumed
from emc.training.compiled import CompiledTrainer, Training
from emc.training.lockstep import LockstepTrainer
from emc.training.setup import Setup
from emc.training.single import SingleTrainer

MakePrepared = Callable[..., Prepared]
Train = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]
MakeTrainer = Callable[[Setup, Checkpoints | None], Executor]

PROBES = [Probe("base", 40, 0), Probe("base", 60, 1), Probe("base", 8, 2)]


def single(setup: Setup, kept: Checkpoints | None = None) -> SingleTrainer:
    return SingleTrainer(setup, kept)


def lockstep(setup: Setup, kept: Checkpoints | None = None) -> LockstepTrainer:
    return LockstepTrainer(setup, 32, kept)


def with_dropout_and_norm(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(shape[0], 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, num_classes)
    )


def group_norm(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(shape[0], 6), nn.GroupNorm(2, 6), nn.ReLU(), nn.Linear(6, num_classes))


def with_interruptions(
    make: MakeTrainer, setup: Setup, probes: Sequence[Probe], folder: Path, seed: int
) -> list[ProbeResult]:
    """Verdicts of trainings that a fresh trainer takes up every few counts, where the one before was closed."""
    kept, stops = Checkpoints(str(folder), 0.0), random.Random(seed)
    found: dict[str, ProbeResult] = {}
    steps: dict[Probe, int] = {}
    taken_up = 0
    while len(found) < len(probes):
        trainer = make(setup, kept)
        for probe in probes:
            if probe.key not in found:
                trainer.add(probe)
        for turn in range(stops.randint(1, 4)):
            found |= {outcome.key: replace(outcome, seconds=0.0) for outcome in trainer.advance()}  # type: ignore[union-attr, type-var]
            for run in trainer.running():
                probe = Probe(run.base, run.n, run.replicate, run.attempt)
                if turn == 0 and probe in steps:
                    assert run.steps > steps[probe], "it began anew"
                    taken_up += 1
                steps[probe] = run.steps
        trainer.save()
        trainer.close()
    assert taken_up
    return [found[probe.key] for probe in probes]


@pytest.mark.parametrize("make", [single, lockstep])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam:lr=0.02"},
        {"optimizer": "adamw:weight_decay=0.01", "precision": "float64"},
        {"optimizer": "sgd:lr=0.1", "inputs": "gaussian"},
        {"optimizer": "gd:lr=0.2", "schedule": "cosine"},
        {"optimizer": "lion:weight_decay=0.1", "schedule": "warmup:steps=60", "clip_norm": 0.5, "label_smoothing": 0.1},
        {"own_model": group_norm},
        {"own_model": normed_cnn, "data": "digits", "optimizer": "adam:lr=0.0003"},
    ],
)
def test_resumed_trainings_end_as_undisturbed_ones(
    make_prepared: MakePrepared, train: Train, tmp_path: Path, make: MakeTrainer, settings: dict[str, Any]
) -> None:
    setup = make_prepared(batch_size=16, check_steps=20, certify="none", **settings).setup
    probes = PROBES[:1] if "own_model" in settings else PROBES  # torch.func sums in the order of the company
    expected = train(make(setup, None), probes)
    assert with_interruptions(make, setup, probes, tmp_path, seed=1) == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"own_model": with_dropout_and_norm},
        {"optimizer": "lbfgs", "model": "mlp:width=8"},
        {"optimizer": "shampoo"},
        {"optimizer": "lion", "label_smoothing": 0.1, "clip_norm": 0.5},
        {"optimizer": "muon", "model": "mlp:width=8,depth=2"},
        {"optimizer": "muon:ends=true", "model": "cnn:width=2", "data": "digits", "augment": "flip_crop:padding=1"},
        {"optimizer": "sam", "own_model": with_dropout_and_norm},
        {"optimizer": "sam:base=shampoo", "schedule": "warmup:steps=60,then=reactive|patience=2"},
        {"optimizer": "sam:base=muon", "model": "mlp:width=8,depth=2", "schedule": "inverse_sqrt:every=30"},
    ],
)
def test_generators_statistics_and_curvature_are_kept(
    make_prepared: MakePrepared, train: Train, tmp_path: Path, settings: dict[str, Any]
) -> None:
    setup = make_prepared(batch_size=16, check_steps=20, certify="none", **settings).setup
    expected = train(single(setup), PROBES[:2])
    torch.manual_seed(1)
    for seed in range(2):
        assert with_interruptions(single, setup, PROBES[:2], tmp_path / str(seed), seed) == expected


def saddle(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """All parameters 0 is a saddle of a tanh net."""
    module = nn.Sequential(nn.Linear(shape[0], 4), nn.Tanh(), nn.Linear(4, num_classes))
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam:lr=0.02", "batch_size": 16},
        {"optimizer": "sgd:lr=0.1", "batch_size": 16, "precision": "float64"},
        {"own_model": saddle, "optimizer": "gd:lr=0.5", "escape": True, "min_steps": 800, "precision": "float64"},
        {"model": "cnn:width=2", "data": "digits", "batch_size": 16},
    ],
)
def test_compiled_trainings_resume_between_any_two_calls(
    make_prepared: MakePrepared, train: Train, tmp_path: Path, settings: dict[str, Any]
) -> None:
    setup = make_prepared(check_steps=20, check_epochs=20, polish_steps=50, **settings).setup
    kept, stops = Checkpoints(str(tmp_path), 1e9), random.Random(0)
    for probe in PROBES:
        trainer = CompiledTrainer(setup, 1, 1)
        (expected,) = train(trainer, [probe])
        trainer.close()
        result, steps = None, 0
        while result is None:
            member = resumed(lambda probe=probe: Training(setup, probe, kept))  # type: ignore[misc]
            assert member.run.steps == steps
            for _ in range(stops.randint(1, 3)):
                member._steps_a_call = stops.randint(1, 30)
                member.train(lambda: True)
                result = member.conclude() if member.run.stop is not None else None
                if result is not None:
                    break
            member.save()
            steps = member.run.steps
        assert replace(result, seconds=0.0) == expected


def test_a_compiled_trainer_keeps_what_its_threads_train(
    make_prepared: MakePrepared, train: Train, tmp_path: Path
) -> None:
    setup = make_prepared(min_steps=20_000, stall_share=1.0, polish_steps=1, certify="none").setup
    probes = [Probe("base", 200, r) for r in range(3)]
    whole = CompiledTrainer(setup, 2, 32)
    expected = train(whole, probes)
    whole.close()
    kept = Checkpoints(str(tmp_path), 1e9)
    first = CompiledTrainer(setup, 2, 32, kept)
    first.wait_s = 0.0
    for probe in probes:
        first.add(probe)
    first.advance()
    while not all(run.steps > 0 for run in first.running()):
        first.advance()
    first.save()
    first.save()  # the threads went on meanwhile
    first.close()
    assert {path.stem for path in tmp_path.iterdir()} == {probe.key for probe in probes}
    second = CompiledTrainer(setup, 2, 32, kept)
    second.add(probes[0])
    second.wait_s = 0.0
    second.advance()
    assert second.running()[0].steps > 0
    assert train(second, probes) == expected
    second.close()


def interrupted(setup: Setup, folder: Path, make: MakeTrainer = single) -> Path:
    """The file of a training that was stopped after two counts."""
    trainer = make(setup, Checkpoints(str(folder), 0.0))
    trainer.add(PROBES[0])
    trainer.advance()
    trainer.advance()
    assert trainer.running()[0].steps == 40
    trainer.close()
    (path,) = folder.iterdir()
    assert path.name == f"{PROBES[0].key}.pt"
    return path


def steps_at_first(setup: Setup, folder: Path, make: MakeTrainer = single) -> int:
    """Steps of the training after one more count."""
    trainer = make(setup, Checkpoints(str(folder), 1e9))
    trainer.add(PROBES[0])
    trainer.advance()
    return trainer.running()[0].steps


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def packed(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return MAGIC + hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


@pytest.mark.parametrize("make", [single, lockstep])
def test_a_damaged_file_is_ignored_and_said_so(
    make_prepared: MakePrepared, tmp_path: Path, caplog: pytest.LogCaptureFixture, make: MakeTrainer
) -> None:
    setup = make_prepared(check_steps=20, batch_size=16).setup
    path = interrupted(setup, tmp_path / "kept", make)
    whole = path.read_bytes()
    assert steps_at_first(setup, path.parent, make) == 60
    stops = random.Random(0)
    damaged = [whole[: stops.randrange(len(whole))] for _ in range(5)]
    damaged += [
        b"",
        b"\0" * 4096,
        whole + b"x",
        pickle.dumps({"state": 1}),
        packed({}),
        packed({"facts": 1}),
        packed([]),
    ]
    damaged.append(packed({"facts": {}, "state": Evil(tmp_path / "run")}))
    for _ in range(5):
        place = stops.randrange(len(whole))
        damaged.append(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        caplog.clear()
        assert steps_at_first(setup, path.parent, make) == 20
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert f"the checkpoint of probe {PROBES[0].key} is ignored, so that it starts over: " in caplog.text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("make", [single, lockstep])
def test_a_state_that_does_not_fit_is_ignored(
    make_prepared: MakePrepared, tmp_path: Path, caplog: pytest.LogCaptureFixture, make: MakeTrainer
) -> None:
    """With the right facts about itself, but not the state that goes with them."""
    setup = make_prepared(check_steps=20, batch_size=16).setup
    path = interrupted(setup, tmp_path, make)
    content = checkpoints._unpack(path.read_bytes())
    for state in ({}, {"run": {}}, {"run": content["state"]["run"] | {"budget": 7}}, {"run": content["state"]["run"]}):
        path.write_bytes(packed({"facts": content["facts"], "state": state}))
        caplog.clear()
        assert steps_at_first(setup, tmp_path, make) == 20
        assert "is ignored, so that it starts over" in caplog.text


def test_a_file_of_something_else_is_ignored(
    make_prepared: MakePrepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    setup = make_prepared(check_steps=20, batch_size=16).setup
    path = interrupted(setup, tmp_path)
    assert steps_at_first(setup, tmp_path, lockstep) == 20
    assert "it is of another trainer: single" in caplog.text
    assert steps_at_first(make_prepared(check_steps=20, batch_size=16, model="mlp:width=5").setup, tmp_path) == 20
    assert "it is of another model" in caplog.text
    monkeypatch.setattr(checkpoints, "_software", lambda: {"torch": "0.0"})
    assert steps_at_first(setup, tmp_path) == 20
    assert f"it is of another torch: {torch.__version__}" in caplog.text
    monkeypatch.undo()
    other = SingleTrainer(setup, Checkpoints(str(tmp_path), 1e9))
    path.rename(path.with_stem(PROBES[1].key))
    other.add(PROBES[1])
    other.advance()
    assert other.running()[0].steps == 20
    assert f"it is of another key: {PROBES[0].key}" in caplog.text


def test_what_is_dropped_or_discarded_is_gone(make_prepared: MakePrepared, tmp_path: Path) -> None:
    setup = make_prepared(check_steps=20, batch_size=16).setup
    for make in (single, lockstep):
        path = interrupted(setup, tmp_path, make)
        trainer = make(setup, Checkpoints(str(tmp_path), 0.0))
        trainer.add(PROBES[0])
        trainer.advance()
        assert path.exists()
        trainer.drop(PROBES[0])
        assert not path.exists()
    discard(interrupted(setup, tmp_path).parent, PROBES[0].key)
    assert list(tmp_path.iterdir()) == []
    discard(tmp_path / "nowhere", PROBES[0].key)


def test_it_is_saved_as_often_as_asked_and_seconds_add_up(
    make_prepared: MakePrepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("emc.training.checkpoints.time.monotonic", lambda: now)
    setup = make_prepared(check_steps=20, batch_size=16).setup
    trainer = SingleTrainer(setup, Checkpoints(str(tmp_path), 10.0))
    trainer.add(PROBES[0])
    saved = []
    for now in (0.0, 9.0, 10.0, 19.0, 20.5, 29.0):  # noqa: B007 - the clock reads it
        trainer.advance()
        saved += [path.stat().st_mtime_ns for path in tmp_path.iterdir()]
    assert len(set(saved)) == 2
    assert len(saved) == 4
    seconds = trainer.running()[0].seconds
    trainer.save()
    trainer.close()
    again = SingleTrainer(setup, Checkpoints(str(tmp_path), 10.0))
    again.add(PROBES[0])
    again.advance()
    assert again.running()[0].seconds > seconds
    assert again.running()[0].steps == 140


class Recalling(nn.Module):
    """Remembers the last batch's mean in an attribute that is no buffer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer, self.mean = nn.Linear(6, classes), torch.zeros(())

    def forward(self, X: Tensor) -> Tensor:
        out: Tensor = self.layer(X) + 0 * self.mean
        self.mean = X.detach().mean()
        return out


class Drawing(nn.Module):
    """Has a generator of its own."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer, self.generator = nn.Linear(6, classes), torch.Generator().manual_seed(0)

    def forward(self, X: Tensor) -> Tensor:
        out: Tensor = self.layer(X + torch.randn(X.shape, generator=self.generator))
        return out


@pytest.mark.parametrize("own", [Recalling, Drawing])
def test_a_model_with_more_to_remember_is_not_kept(
    make_prepared: MakePrepared, tmp_path: Path, caplog: pytest.LogCaptureFixture, own: type[nn.Module]
) -> None:
    setup = make_prepared(own_model=lambda _shape, classes: own(classes), check_steps=20).setup
    trainer = SingleTrainer(replace(setup, identified=True), Checkpoints(str(tmp_path), 0.0))
    trainer.add(PROBES[0])
    trainer.advance()
    trainer.advance()
    assert list(tmp_path.iterdir()) == []
    (message,) = caplog.messages
    assert message == (
        "a training could not be saved, so that it would start over: the model must keep nothing but parameters and "
        "buffers from one step to the next"
    )


def test_what_models_hold_beside_their_parameters() -> None:
    """Training changes it in none of these, though hooks, links to parameters and functions are there."""
    for module in (
        nn.LSTM(3, 2),
        nn.TransformerEncoderLayer(4, 2, 8),
        nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)),
    ):
        module.scale = lambda X: 2 * X  # type: ignore[assignment]
        module.register_forward_hook(lambda _module, _inputs, output: output)
        before = held_beside(module)
        assert before is not None
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(1)
        module(torch.ones(5, 4 if isinstance(module, nn.TransformerEncoderLayer) else 3))
        module.eval()
        assert held_beside(module) == before


def test_a_model_without_source_is_not_kept(make_prepared: MakePrepared, tmp_path: Path) -> None:
    setup = replace(make_prepared(check_steps=20).setup, identified=False)
    trainer = SingleTrainer(setup, Checkpoints(str(tmp_path), 0.0))
    trainer.add(PROBES[0])
    trainer.advance()
    trainer.save()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [single, lockstep])
def test_a_full_disk_is_a_warning_and_the_training_goes_on(
    make_prepared: MakePrepared,
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    make: MakeTrainer,
) -> None:
    setup = make_prepared(check_steps=20, batch_size=16, certify="none").setup
    expected = train(make(setup, None), PROBES)

    def full(path: Path, _content: bytes) -> int:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with caplog.at_level(logging.INFO, "emc"):
        assert train(make(setup, Checkpoints(str(tmp_path), 0.0)), PROBES) == expected
    (message,) = caplog.messages
    assert message.startswith("a training could not be saved, so that it would start over: an output file must be")
    assert list(tmp_path.iterdir()) == []


TIMED = [
    lambda setup: SingleTrainer(setup, timeout_s=1e-9),
    lambda setup: LockstepTrainer(setup, 32, timeout_s=1e-9),
    lambda setup: CompiledTrainer(setup, 2, 32, timeout_s=1e-9),
]


@pytest.mark.parametrize("make", TIMED)
def test_a_training_past_its_time_fails_and_a_verdict_stays(
    make_prepared: MakePrepared, make: Callable[[Setup], Executor]
) -> None:
    """One that ends at its first count has its verdict, however long that took."""
    long, short = make_prepared(check_steps=20, stall_share=1).setup, make_prepared(check_steps=20, min_steps=20).setup
    probes = Probe("long", 60, 1), Probe("short", 60, 0), Probe("long", 40, 0)
    trainer = make({"long": long, "short": short})  # type: ignore[arg-type]
    for probe in probes:
        trainer.add(probe)
    outcomes: list[ProbeResult | ProbeFailure] = []
    while len(outcomes) < 3:
        outcomes += trainer.advance()
    assert trainer.running() == []
    trainer.close()
    failures = {outcome.probe: str(outcome.error) for outcome in outcomes if isinstance(outcome, ProbeFailure)}
    assert failures.keys() == {probes[0], probes[2]}
    told = "a training must end within --probe-timeout 1e-09 s, got n=60 of replicate 1 after "
    assert failures[probes[0]].startswith(told)
    assert failures[probes[0]].endswith(" s; raise it, or lower --min-steps and --max-epochs")


@pytest.mark.parametrize("make", [single, lockstep])
def test_a_training_interrupted_between_two_counts_is_not_kept(
    make_prepared: MakePrepared, train: Train, tmp_path: Path, make: MakeTrainer
) -> None:
    """Its model is ahead of its steps then; the checkpoint before stays, and goes on to the same verdict."""
    setup = make_prepared(check_steps=20, batch_size=16, certify="none").setup
    expected = train(make(setup, None), PROBES[:1])
    before = interrupted(setup, tmp_path, make).read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    trainer = make(setup, Checkpoints(str(tmp_path), 1e9))
    trainer.add(PROBES[0])
    trainer.advance()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emc.training.run.ProbeRun.did", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trainer.advance()
    trainer.save()
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == before
    assert train(make(setup, Checkpoints(str(tmp_path), 1e9)), PROBES[:1]) == expected
