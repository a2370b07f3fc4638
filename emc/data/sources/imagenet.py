"""ImageNet, from a local copy: it may not be downloaded without an account."""

from __future__ import annotations

from emc.data import DATA
from emc.data.cache import DATA_VARIABLE, data_root
from emc.data.dataset import Raw
from emc.data.folders import list_images, read_image_folder
from emc.errors import DataError


@DATA.register("imagenet")
def imagenet(*, size: int = 64) -> Raw:
    """ImageNet training images from a local copy in <data root>/imagenet/train/<class>/, scaled to size x size.

    Raises:
        DataError: there is no such copy.
    """
    home = data_root() / "imagenet" / "train"
    if not home.is_dir():
        raise DataError(
            f"data imagenet needs a local copy, got no folder {home}; put train/<class>/ into an imagenet folder and "
            f"point {DATA_VARIABLE} (or --data-root) at its parent"
        )
    found = list_images(home, "data imagenet")
    return read_image_folder(found, f"ImageNet {size}x{size}, {len(found.classes)} classes", size)
