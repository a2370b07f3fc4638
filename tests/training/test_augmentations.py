"""Every registered augmentation, and its place in a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from emc.api import Prepared
from emc.errors import SpecError
from emc.executors.base import Executor
from emc.executors.choice import choose, stacking_obstacle
from emc.results import ProbeResult
from emc.specs import Probe
from emc.training.augmentations import AUGMENTATIONS
from emc.training.compiled import kernel_obstacle
from emc.training.single import SingleTrainer

MakePrepared = Callable[..., Prepared]
Train = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]


def images(count: int = 400) -> torch.Tensor:
    """Of 2 channels, 3 by 5, no two pixels alike and none 0."""
    return torch.arange(1.0, 31.0).view(1, 2, 3, 5) + 100 * torch.arange(count).view(-1, 1, 1, 1)


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_each_image_is_changed_by_its_own_draw(name: str) -> None:
    X = images()
    before = X.clone()
    torch.manual_seed(0)
    found = AUGMENTATIONS.build(name)(X)
    torch.manual_seed(0)
    again = AUGMENTATIONS.build(name)(X)
    assert torch.equal(found, again)
    assert torch.equal(X, before)
    assert found.shape == X.shape
    assert found.dtype == X.dtype
    kept = (found == X).flatten(1).all(1)
    assert 0 < int(kept.sum()) < len(X)
    other = AUGMENTATIONS.build(name)(X)
    assert not torch.equal(found, other)


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_only_images_can_be_augmented(name: str) -> None:
    with pytest.raises(SpecError, match=rf"augmentation {name} needs images .*, got inputs of shape \(6,\); leave it"):
        AUGMENTATIONS.build(name)(torch.zeros(2, 6))


def test_a_flip_mirrors_about_half_of_them() -> None:
    X = images()
    torch.manual_seed(0)
    found = AUGMENTATIONS.build("flip")(X)
    mirrored = (found == X.flip(3)).flatten(1).all(1)
    assert torch.equal(mirrored, ~(found == X).flatten(1).all(1))
    assert 160 < int(mirrored.sum()) < 240


def test_a_crop_is_a_shift_filled_up_with_zeros() -> None:
    """Each of the nine shifts by at most one pixel, about equally often."""
    X = images(900)
    torch.manual_seed(0)
    found = AUGMENTATIONS.build("crop:padding=1")(X)
    padded = torch.zeros(len(X), 2, 5, 7)
    padded[:, :, 1:4, 1:6] = X
    places = {(i, j): padded[:, :, i : i + 3, j : j + 5] for i in range(3) for j in range(3)}
    hits = {place: (found == shifted).flatten(1).all(1) for place, shifted in places.items()}
    assert torch.stack(list(hits.values())).sum(0).eq(1).all()
    assert all(60 < int(hit.sum()) < 140 for hit in hits.values())


def test_flip_crop_is_both() -> None:
    X = images()
    torch.manual_seed(0)
    expected = AUGMENTATIONS.build("crop:padding=2")(AUGMENTATIONS.build("flip")(X))
    torch.manual_seed(0)
    assert torch.equal(AUGMENTATIONS.build("flip_crop:padding=2")(X), expected)


@pytest.mark.parametrize("name", ["crop", "flip_crop"])
def test_padding_out_of_range(name: str) -> None:
    with pytest.raises(SpecError, match=f"augmentation {name} takes padding of at least 1, got 0"):
        AUGMENTATIONS.build(f"{name}:padding=0")


SMALL = {"data": "digits", "model": "mlp:width=8", "batch_size": 16, "certify": "none"}


def test_an_augmented_training_is_another_one_and_its_own_again(make_prepared: MakePrepared, train: Train) -> None:
    """Whatever the global generator does; and what is counted is never augmented."""
    probes = [Probe("base", 40, r) for r in range(2)]
    setup = make_prepared(**SMALL, augment="flip_crop:padding=1").setup
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = train(SingleTrainer(setup), probes)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert train(SingleTrainer(setup), probes[::-1]) == first[::-1]
    plain = train(SingleTrainer(make_prepared(**SMALL).setup), probes)
    assert all(one.loss != other.loss for one, other in zip(first, plain, strict=True))
    assert {result.detail.get("polish_objective") for result in plain} == {None}


def test_only_single_trains_it(make_prepared: MakePrepared) -> None:
    setup = make_prepared(**SMALL, augment="flip").setup
    assert stacking_obstacle(setup) == "its inputs are augmented, which draws random numbers"
    assert kernel_obstacle(setup) == "its inputs are augmented"
    assert choose(setup, "auto").trainer == "single"
    for trainer, remedy in (("lockstep", "use single"), ("compiled", "use auto")):
        with pytest.raises(SpecError, match=f"--trainer {trainer} needs .*, but its inputs are augmented.*; {remedy}"):
            choose(setup, trainer)


def test_data_that_are_no_images_are_told_before_any_training(make_prepared: MakePrepared) -> None:
    with pytest.raises(SpecError, match=r"augmentation flip needs images .*, got inputs of shape \(6,\)"):
        make_prepared(augment="flip")


@pytest.mark.parametrize("name", ["crop", "flip_crop"])
def test_padding_beyond_an_image_is_refused(name: str) -> None:
    augment = AUGMENTATIONS.build(f"{name}:padding=6")
    message = f"augmentation {name} takes padding of at most the longer side of an image, got 6 for images of 2x5"
    with pytest.raises(SpecError, match=message):
        augment(torch.zeros(1, 1, 2, 5))
    assert augment(torch.zeros(1, 1, 2, 6)).shape == (1, 1, 2, 6)


def test_what_an_augmentation_raises_is_one_sentence(
    make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AUGMENTATIONS, "_plugins", dict(AUGMENTATIONS._plugins))

    @AUGMENTATIONS.register("broken")
    def broken() -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda X: X @ torch.zeros(77)

    with pytest.raises(SpecError, match=r"augmentation broken must take inputs of shape \(6,\), got RuntimeError: "):
        make_prepared(augment="broken")


def test_the_shape_must_stay(make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AUGMENTATIONS, "_plugins", dict(AUGMENTATIONS._plugins))

    @AUGMENTATIONS.register("halved")
    def halved() -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda X: X[:, :, ::2]

    with pytest.raises(
        SpecError, match=r"augmentation halved must keep the shape .*\(2, 1, 8, 8\), got \(2, 1, 4, 8\)"
    ):
        make_prepared(**SMALL, augment="halved")
