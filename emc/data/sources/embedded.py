"""Datasets that come with scikit-learn and need neither file nor network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emc.data import DATA
from emc.data.dataset import Raw

if TYPE_CHECKING:
    from collections.abc import Callable


@DATA.register("digits")
def digits() -> Raw:
    """Handwritten digits, 1,797 grey images of 8x8 pixels, 10 classes (scikit-learn)."""
    import numpy as np
    from sklearn.datasets import load_digits

    from emc.data.images import standardise_images

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[:, None]  # grey levels 0 .. 16
    classes = tuple(map(str, bunch.target_names))
    y = bunch.target.astype(np.int64)
    return Raw("digits", standardise_images(images), y, classes, standardised=(True,) * images.shape[1])


@DATA.register("wine")
def wine() -> Raw:
    """Chemical analyses of 178 wines, 13 features, 3 cultivars (scikit-learn)."""
    from sklearn.datasets import load_wine

    return _read_table("wine", load_wine)


@DATA.register("breast_cancer")
def breast_cancer() -> Raw:
    """Wisconsin breast cancer, 569 rows, 30 features, 2 classes (scikit-learn)."""
    from sklearn.datasets import load_breast_cancer

    return _read_table("breast_cancer", load_breast_cancer)


def _read_table(name: str, read: Callable[[], Any]) -> Raw:
    import pandas as pd

    from emc.data.tables import encode_table

    bunch = read()
    frame = pd.DataFrame(bunch.data, columns=list(bunch.feature_names))
    target = pd.Series(bunch.target_names[bunch.target], name="target")
    return encode_table(name, frame, target, owner=f"data {name}")
