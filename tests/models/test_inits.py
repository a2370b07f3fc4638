"""Initialisations against their formulas, and files of weights against what users may give."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

import emc
from emc.api import Prepared, prepare
from emc.errors import SpecError
from emc.models.inits import INITS
from emc.specs import Measurement, Probe

MODEL = {"model": "mlp:width=5", "data": "digits"}
PROBES = [Probe("base", n, r, a) for n, r, a in ((20, 0, 0), (21, 0, 0), (20, 1, 0), (20, 0, 1))]


class Various(nn.Module):
    """Layers of every kind that an initialisation may or may not change."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 200, 3), nn.BatchNorm2d(200)
        self.linear, self.frozen = nn.Linear(300, 400), nn.Linear(4, 4).requires_grad_(False)
        self.embedding, self.token = nn.Embedding(5, 6), nn.Parameter(torch.randn(2, 3))


def prepared(init: str, **settings: Any) -> Prepared:
    return prepare(Measurement.from_flat(MODEL | settings | {"init": init}))


def parameters(made: Prepared, probe: Probe = PROBES[0]) -> dict[str, Tensor]:
    return dict(made.setup.fresh_model(probe).named_parameters())


def test_every_registered_initialisation_is_tested_here() -> None:
    assert INITS.names() == ["default", "file", "kaiming", "orthogonal", "scale", "xavier"]


@pytest.mark.parametrize(
    ("init", "conv", "linear"),
    [
        ("kaiming", (2 / 27) ** 0.5, (2 / 300) ** 0.5),
        ("xavier", (2 / (27 + 1800)) ** 0.5, (2 / 700) ** 0.5),
    ],
)
def test_weights_have_the_published_variance_and_biases_are_zero(init: str, conv: float, linear: float) -> None:
    torch.manual_seed(0)
    module = Various()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    INITS.build(init)(module)
    for layer, std in ((module.conv, conv), (module.linear, linear)):
        assert float(layer.weight.detach().std()) == pytest.approx(std, rel=0.05)
        assert not layer.bias.any()
    kept = {name for name, tensor in module.state_dict().items() if torch.equal(tensor, before[name])}
    assert kept == before.keys() - {f"{layer}.{part}" for layer in ("conv", "linear") for part in ("weight", "bias")}


def test_xavier_is_uniform() -> None:
    module = Various()
    INITS.build("xavier")(module)
    bound = (6 / 700) ** 0.5
    assert 0.99 * bound < float(module.linear.weight.detach().abs().max()) <= bound


def test_orthogonal_rows_or_columns() -> None:
    module = Various()
    INITS.build("orthogonal:gain=2")(module)
    rows = module.linear.weight.data  # 400 rows of 300: its columns are orthogonal
    torch.testing.assert_close(rows.T @ rows, 4 * torch.eye(300), rtol=0, atol=1e-4)
    kernels = module.conv.weight.data.flatten(1)
    torch.testing.assert_close(kernels.T @ kernels, 4 * torch.eye(27), rtol=0, atol=1e-4)
    assert not module.linear.bias.any()


def test_scale_multiplies_the_default_weights() -> None:
    default, scaled = parameters(prepared("default")), parameters(prepared("scale:0.5"))
    for name, parameter in default.items():
        assert torch.equal(scaled[name], parameter / 2 if name.endswith("weight") else parameter)


@pytest.mark.parametrize("init", ["kaiming", "xavier", "orthogonal", "scale:factor=3"])
def test_each_probe_has_a_fresh_one(init: str) -> None:
    made = prepared(init)
    state = torch.get_rng_state()
    weights = [parameters(made, probe)["1.weight"] for probe in PROBES]
    assert torch.equal(weights[0], parameters(made)["1.weight"])
    assert all((weights[0] != other).float().mean() > 0.99 for other in weights[1:])
    assert torch.equal(state, torch.get_rng_state())


def test_at_scale_zero_all_probes_begin_with_the_same_weights() -> None:
    assert not parameters(prepared("scale:0"), PROBES[1])["1.weight"].any()


def test_an_initialisation_is_a_part_of_the_key() -> None:
    inits = ("default", "kaiming", "xavier", "orthogonal", "orthogonal:gain=2", "scale:2", "scale:3")
    assert len({prepared(init).base for init in inits}) == len(inits)
    assert prepared("scale:2").base == prepared("scale:factor=2.0").base


def test_a_model_without_layers_is_told() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(64, 10))

        def forward(self, X: Tensor) -> Tensor:
            return X.flatten(1) @ self.w

    with pytest.raises(SpecError, match="--init kaiming needs a model with linear layers or convolutions, got none"):
        prepare(Measurement.from_flat({"data": "digits", "init": "kaiming"}), model=lambda _shape, _k: Bare())


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("scale:-1", "initialisation scale takes factor of at least 0 and finite, got -1"),
        ("scale:inf", "of at least 0 and finite, got inf"),
        ("scale", "initialisation scale needs factor; write scale:factor=..."),
        ("orthogonal:gain=0", "initialisation orthogonal takes gain above 0 and finite, got 0"),
        ("file", "initialisation file needs path; write file:path=..."),
    ],
)
def test_options_out_of_range_are_refused(init: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        prepared(init)


def weights(seed: int = 0) -> dict[str, Tensor]:
    """Those of the model, from elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"1.weight": (5, 64), "1.bias": (5,), "3.weight": (10, 5), "3.bias": (10,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "my, own weights.safetensors"
    save_file(weights(), file)
    return file


def test_a_file_is_every_probes_init_and_their_samples_still_differ(path: Path) -> None:
    made = prepared(f"file:{path}")
    for probe in PROBES:
        assert all(torch.equal(tensor, weights()[name]) for name, tensor in parameters(made, probe).items())
    X, other = (made.setup.samples(probe).first(20)[0] for probe in (PROBES[0], PROBES[2]))
    assert not torch.equal(X, other)


def test_a_file_is_known_by_its_content_wherever_it_lies(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    copy = path.with_name("copy.safetensors")
    copy.write_bytes(path.read_bytes())
    found = [prepared(f"file:{place}") for place in (path, path.name, copy)]
    assert len({made.base for made in found}) == len({made.fingerprint for made in found}) == 1
    assert [made.measurement.procedure.init.get("path") for made in found] == [str(path), path.name, str(copy)]
    save_file({name: tensor + 1 for name, tensor in weights().items()}, copy)
    assert prepared(f"file:{copy}").base != found[0].base


def test_buffers_are_loaded_too(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    module[1].running_mean += 5
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    other = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    INITS.build(f"file:{tmp_path / 'w.safetensors'}")(other)
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize(
    ("reparam", "bits"),
    [(None, 32 * 385), ("precision:bf16", 16 * 385), ("subspace:9", None), ("prune:rule=magnitude,fraction=0.5", None)],
)
def test_frozen_weights_of_a_file_are_not_free(path: Path, reparam: str | None, bits: int | None) -> None:
    """What is drawn from the seed costs no bits; of a file it would, and what is trained from there is all stored."""
    made = prepared(f"file:{path}", reparam=reparam)
    assert made.sizes is not None
    assert made.sizes.bits == bits
    assert prepared("kaiming", reparam=reparam).sizes.bits is not None


def test_a_measurement_without_known_bits(path: Path) -> None:
    settings = {"labels": "random", "replicates": 1, "n_max": 8, "min_steps": 1, "max_epochs": 2, "certify": "none"}
    found = emc.measure(**MODEL, **settings, init=f"file:{path}", reparam="subspace:9")
    assert (found.parameters, found.stored, found.bits, found.bits_per_bit) == (9, 385, None, None)
    assert found.bits_per_parameter is not None


def test_half_precision_is_read(path: Path) -> None:
    save_file({name: tensor.bfloat16() for name, tensor in weights().items()}, path)
    found = parameters(prepared(f"file:{path}"))
    assert all(torch.equal(tensor, weights()[name].bfloat16().float()) for name, tensor in found.items())


def test_its_content_is_a_part_of_the_key_and_of_the_record(path: Path) -> None:
    first = prepared(f"file:{path}")
    assert prepared(f"file:path={path}").base == first.base
    recorded = str(first.measurement.procedure.init)
    assert re.search(r"sha256=[0-9a-f]{16}$", recorded)
    save_file(weights(1), path)
    assert prepared(f"file:{path}").base != first.base
    with pytest.raises(SpecError, match=r"--init file needs the weights it was given first, of hash .*; restore"):
        prepared(recorded)


def test_what_was_prepared_keeps_its_weights_when_the_file_changes(path: Path) -> None:
    made = prepared(f"file:{path}")
    save_file(weights(1), path)
    assert torch.equal(parameters(made)["1.bias"], weights()["1.bias"])
    path.unlink()
    assert torch.equal(parameters(made, PROBES[1])["1.bias"], weights()["1.bias"])


GOOD = save(weights())

HOSTILE = {
    "empty": b"",
    "text": b"weights",
    "pickle": pickle.dumps({"1.bias": [0.0] * 5}),
    "truncated": GOOD[:-7],
    "longer": GOOD + b"more",
    "endless header": (1 << 62).to_bytes(8, "little") + b"{}",
    "header of no JSON": (4).to_bytes(8, "little") + b"{]]]",
    "deep header": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "offsets outside": (66).to_bytes(8, "little")
    + b'{"1.bias":{"dtype":"F32","shape":[5],"data_offsets":[0,99999999]}}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_of_something_else_is_told_in_one_sentence(path: Path, name: str) -> None:
    path.write_bytes(HOSTILE[name])
    with pytest.raises(SpecError, match=r"--init file needs a safetensors file, got .*; write it with safetensors"):
        prepared(f"file:{path}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"1.bias": None}, "needs the names of the model's state_dict, but it lacks '1.bias'"),
        ({"extra": torch.zeros(1)}, "needs the names of the model's state_dict, but the model has no 'extra'"),
        ({"1.weight": torch.zeros(64, 5)}, "got (64, 5) for '1.weight' of shape (5, 64)"),
        ({"1.bias": torch.zeros(5, dtype=torch.int32)}, "got torch.int32 for '1.bias' of torch.float32"),
        ({"3.bias": torch.full((10,), torch.nan)}, "needs finite weights, got NaN or infinite values in '3.bias'"),
    ],
)
def test_weights_of_another_model_are_told(path: Path, change: dict[str, Tensor | None], message: str) -> None:
    save_file({name: tensor for name, tensor in (weights() | change).items() if tensor is not None}, path)
    with pytest.raises(SpecError, match=re.escape(message)):
        prepared(f"file:{path}")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"--init file needs a file of weights, got .*none: No such file or directory"):
        prepared(f"file:{tmp_path / 'none'}")
    with pytest.raises(SpecError, match=r"--init file needs a file of weights, got .*: Is a directory; give one that"):
        prepared(f"file:{tmp_path}")
