from __future__ import annotations

import numpy as np
import pytest

from emc.data.images import standardise_images


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.float64])
def test_channels_are_standardised_over_the_pool(dtype: type) -> None:
    images = np.random.default_rng(0).integers(0, 256, (700, 3, 4, 5)).astype(dtype)  # more rows than a chunk
    reference = images.astype(np.float64)
    reference = (reference - reference.mean((0, 2, 3), keepdims=True)) / reference.std((0, 2, 3), keepdims=True)
    standard = standardise_images(images)
    assert standard.dtype == np.float32
    np.testing.assert_allclose(standard, reference, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_a_channel_that_never_varies_becomes_zero(dtype: type) -> None:
    images = np.full((3, 1, 2, 2), 7, dtype=dtype)
    assert standardise_images(images).tolist() == np.zeros((3, 1, 2, 2)).tolist()
