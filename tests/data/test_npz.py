from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emc.data import DATA, load
from emc.errors import DataError

X = np.arange(24.0).reshape(4, 6)
Y = np.array([1, 0, 1, 0])


def save(tmp_path: Path, **arrays: Any) -> str:
    path = tmp_path / "arrays.npz"
    np.savez(path, **arrays)
    return f"npz:path={path}"


def test_features_are_standardised_and_constant_ones_dropped(tmp_path: Path) -> None:
    raw = DATA.build(save(tmp_path, X=np.c_[X, np.ones(4)], y=Y))
    assert raw.X.shape == (4, 6)
    np.testing.assert_allclose(raw.X.std(0), 1, rtol=1e-6)
    assert raw.constant_columns == ("column 6",)
    assert raw.name == "arrays"


@pytest.mark.parametrize(("shape", "expected"), [((4, 2, 3), (4, 1, 2, 3)), ((4, 2, 1, 3), (4, 2, 1, 3))])
def test_images(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    raw = DATA.build(save(tmp_path, X=X.reshape(shape).astype(np.uint8), y=Y))
    assert raw.X.shape == expected
    np.testing.assert_allclose(raw.X.mean((0, 2, 3)), 0, atol=1e-6)


def test_numbers_as_they_are(tmp_path: Path) -> None:
    raw = DATA.build(save(tmp_path, X=X, y=Y) + ",standardise=false")
    np.testing.assert_array_equal(raw.X, X.astype(np.float32))


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (Y[:, None], ("0", "1")),
        (Y.astype(float), ("0", "1")),
        (Y.astype(bool), ("False", "True")),
        (np.array(["a", "b", "a", "b"]), ("a", "b")),
        (np.array([b"a", b"b", b"a", b"b"]), ("a", "b")),
        (np.array([10, 9, 10, 9]), ("9", "10")),
    ],
)
def test_labels_of_any_plain_type(tmp_path: Path, y: Any, classes: tuple[str, ...]) -> None:
    assert DATA.build(save(tmp_path, X=X, y=y)).classes == classes


def test_other_names(tmp_path: Path) -> None:
    spec = save(tmp_path, features=X, label=Y)
    assert DATA.build(f"{spec},inputs=features,target=label").X.shape == (4, 6)
    with pytest.raises(DataError, match=r'needs an array "feature", got none in .*; did you mean "features"\?'):
        DATA.build(f"{spec},inputs=feature,target=label")


class _Bomb:
    """An object whose unpickling would be seen."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize("name", ["X", "y"])
def test_pickles_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    bomb = np.array([_Bomb() for _ in range(4)], dtype=object)
    spec = save(tmp_path, **{"X": X, "y": Y, name: bomb})
    with pytest.raises(DataError, match=f'never unpickles, got "{name}" in .*; store numbers or texts'):
        DATA.build(spec)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.where(X == 3, np.nan, X), "y": Y}, "inputs must be finite, got 1 NaN or infinite values"),
        ({"X": np.full((4, 2), np.inf), "y": Y}, "inputs must be finite, got 8 NaN or infinite"),
        ({"X": X[:, 0], "y": Y}, r'needs numbers of shape \(rows, features\).*got "X" of shape \(4,\)'),
        ({"X": X.astype(str), "y": Y}, "needs numbers of shape"),
        ({"X": X.astype(complex), "y": Y}, "needs numbers of shape"),
        ({"X": np.empty((0, 3)), "y": np.empty(0)}, "needs numbers of shape"),
        ({"X": X, "y": Y[:3]}, r'one class a row, got "y" of shape \(3,\)'),
        ({"X": X, "y": Y.astype(complex)}, "one class a row"),
        ({"X": X, "y": np.array([0, 1, np.nan, 1])}, "got 1 of 4 rows without one"),
        ({"X": X, "y": np.ones(4)}, "at least 2 classes, got 1"),
        ({"X": np.tile(X, (10, 1)), "y": np.linspace(0, 1, 40)}, "a target holds classes"),
        ({"X": X}, r'needs an array "y", got none'),
    ],
)
def test_mistakes_get_one_sentence(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(save(tmp_path, **arrays))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs a file, got /.*/nowhere\.npz, which does not exist"):
        load("npz:path=nowhere.npz")
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "one.npy", X)
    whole = Path(save(tmp_path, X=X, y=Y).partition("=")[2]).read_bytes()
    (tmp_path / "torn.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("text.npz", "empty.npz", "one.npy", "torn.npz"):
        with pytest.raises(DataError, match=r"data npz needs an \.npz file.*numpy\.savez"):
            load(f"npz:path={tmp_path / name}")


@pytest.mark.parametrize("other", ["X", "X.npy"])
def test_an_array_that_is_there_twice(tmp_path: Path, other: str) -> None:
    """Of two entries of a name numpy loads one, and another one's size might be checked."""
    spec = save(tmp_path, X=X, y=Y)
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(tmp_path / "arrays.npz", "a") as archive:
        archive.writestr(other, archive.read("X.npy"))
    with pytest.raises(DataError, match=r'^data npz needs one array "X", got 2 in .*; write the file anew'):
        load(spec)


def test_damaged_member(tmp_path: Path) -> None:
    path = Path(save(tmp_path, X=X, y=Y).partition("=")[2])
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF  # inside the numbers of X: its checksum in the archive no longer holds
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match='got "X" in'):
        load(f"npz:path={path}")
