from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from emc.data import DATA, load
from emc.errors import SpecError


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [("digits", (1797, 1, 8, 8), 10), ("wine", (178, 13), 3), ("breast_cancer", (569, 30), 2)],
)
def test_embedded_datasets(name: str, shape: tuple[int, ...], classes: int) -> None:
    pool = load(name)
    assert tuple(pool.X.shape) == shape
    assert len(pool.facts.classes) == classes
    axes = (0, 2, 3) if len(shape) == 4 else (0,)
    X = pool.X.double().numpy()
    np.testing.assert_allclose(X.mean(axes), 0, atol=1e-5)
    np.testing.assert_allclose(X.std(axes), 1, atol=1e-5)
    assert pool.facts.content_hash == load(name).facts.content_hash


def test_breast_cancer_keeps_each_row_with_its_class() -> None:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    pool = load("breast_cancer")
    assert pool.facts.classes == ("benign", "malignant")
    assert [pool.facts.classes[k] for k in pool.y] == list(bunch.target_names[bunch.target])


def test_gaussian_is_exact_and_nested() -> None:
    large, small = DATA.build("gaussian:dim=5,size=4000,classes=4"), DATA.build("gaussian:dim=5,size=100")
    np.testing.assert_array_equal(large.X[:100], small.X)
    assert abs(large.X.mean()) < 0.03
    assert abs(large.X.std() - 1) < 0.03
    np.testing.assert_allclose(np.bincount(large.y) / 4000, 0.25, atol=0.03)
    assert not np.array_equal(small.X, DATA.build("gaussian:dim=5,size=100,seed=1").X)


@pytest.mark.parametrize("option", ["dim=0", "classes=1", "size=1", "seed=-1", "size=4,classes=5"])
def test_gaussian_checks_its_options(option: str) -> None:
    with pytest.raises(SpecError, match=r"data gaussian takes \w+ of at least -?\d+, got"):
        DATA.build(f"gaussian:{option}")


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from emc.data import DATA; assert all(p.summary for p in DATA); print(len(DATA.names()));"
        "bad = {'torch', 'numpy', 'pandas', 'sklearn', 'torchvision', 'openml', 'PIL'} & set(sys.modules);"
        "assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 16
