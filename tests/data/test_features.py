"""Frozen representations from files of every kind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from emc.data import DATA, load
from emc.errors import DataError

X = np.arange(24.0).reshape(4, 6).astype(np.float32)
Y = np.array([1, 0, 1, 0])


def files(folder: Path) -> dict[str, str]:
    np.savez(folder / "f.npz", X=X, y=Y)
    np.save(folder / "f.npy", X)
    np.save(folder / "l.npy", Y)
    save_file({"X": torch.from_numpy(X).bfloat16(), "y": torch.from_numpy(Y)}, folder / "f.safetensors")
    pd.DataFrame({"X": list(X), "y": Y}).to_parquet(folder / "f.parquet")
    pd.DataFrame(X, columns=list("abcdef")).assign(y=["b", "a", "b", "a"]).to_parquet(folder / "columns.parquet")
    return {
        "npz": f"features:path={folder}/f.npz",
        "bare": f"features:{folder}/f.npz",
        "npy": f"features:path={folder}/f.npy,labels={folder}/l.npy",
        "safetensors": f"features:path={folder}/f.safetensors",
        "parquet": f"features:path={folder}/f.parquet",
        "columns": f"features:path={folder}/columns.parquet",
    }


@pytest.mark.parametrize("kind", ["npz", "bare", "npy", "safetensors", "parquet", "columns"])
def test_every_kind_of_file_gives_the_same_features(tmp_path: Path, kind: str) -> None:
    text = files(tmp_path)[kind]
    raw = DATA.build(DATA.resolve(text + ",standardise=false"))
    np.testing.assert_array_equal(raw.X, X)
    np.testing.assert_array_equal(raw.y, Y)
    assert raw.classes == (("a", "b") if kind == "columns" else ("0", "1"))
    np.testing.assert_allclose(load(text).X.std(0, correction=0), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("features:path={}/none.npz", r"^data features needs a file, got .*none.npz, which does not exist"),
        ("features:path={}/f.txt", r"^data features reads .npz, .safetensors, .parquet, .npy, got .*f.txt"),
        ("features:path={}/f.npy", r"needs labels=FILE.npy with an .npy file and only there"),
        ("features:path={}/f.npz,labels={}/l.npy", r"needs labels=FILE.npy with an .npy file and only there"),
        ("features:path={}/f.npz,inputs=Z", r'needs an array "Z", got none in .*; known are X, y'),
        ("features:path={}/f.safetensors,target=Y", r'needs a tensor "Y", got none in .*; known are X, y'),
        ("features:path={}/f.parquet,target=z", r'needs a column "z", got none in .*; known are X, y'),
        ("features:path={}/text.parquet", r"needs number columns, or one \"X\" of equally long lists"),
        ("features:path={}/images.npz", r"needs numbers of shape \(rows, features\), got \"X\" of shape \(4, 2, 3\)"),
        ("features:path={}/broken.safetensors", r"^data features needs safetensors, got"),
        ("features:path={}/broken.parquet", r"^data features needs a Parquet file, got"),
        ("features:path={}/broken.npy,labels={}/l.npy", r"^data features needs an .npy file, got"),
        ("features:path={}/objects.npy,labels={}/l.npy", r"^data features needs an .npy file, got .*allow_pickle"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    files(tmp_path)
    for name in ("f.txt", "broken.safetensors", "broken.parquet", "broken.npy"):
        (tmp_path / name).write_text("nonsense")
    np.savez(tmp_path / "images.npz", X=X.reshape(4, 2, 3), y=Y)
    np.save(tmp_path / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    pd.DataFrame({"a": list("abcd"), "y": Y}).to_parquet(tmp_path / "text.parquet")
    with pytest.raises(DataError, match=message):
        DATA.build(text.replace("{}", str(tmp_path)))


@pytest.mark.parametrize("lists", [False, True])
def test_equal_values_are_counted_as_they_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists: bool
) -> None:
    zeros = np.zeros((10_000, 10))
    frame = pd.DataFrame(
        {"X": list(zeros)} if lists else {str(number): column for number, column in enumerate(zeros.T)}
    )
    path = tmp_path / "f.parquet"
    frame.assign(y=0).to_parquet(path)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(os, "sysconf", lambda _name: 894)  # 894 ** 2 bytes, less than 10,000 * 10 * 8
    with pytest.raises(DataError, match=r"f\.parquet must fit into memory, got"):
        DATA.build(f"features:path={path}")


def test_a_linear_probe_fits_what_it_must(tmp_path: Path) -> None:
    """Points in general position: d + 1 of them, whatever their labels, and not many more than 2 (d + 1)."""
    import emc

    generator = np.random.default_rng(0)
    np.savez(tmp_path / "f.npz", X=generator.standard_normal((60, 4)), y=generator.integers(0, 2, 60))
    settings: dict[str, Any] = {"replicates": 1, "min_steps": 2000, "max_epochs": 1, "certify": "none"}
    found = emc.measure(model="linear", data=f"features:{tmp_path}/f.npz", **settings)
    assert 5 <= found.replicates[0].lower < 25
