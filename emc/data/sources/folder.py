"""A user's own images."""

from __future__ import annotations

from emc.data import DATA
from emc.data.dataset import Raw
from emc.data.folders import list_images, read_image_folder


@DATA.register("folder")
def folder(*, path: str, size: int = 32, links: bool = False) -> Raw:
    """Your images: a folder with one sub-folder a class, decoded once and cached as one array.

    All become RGB of size x size pixels; images of another size are scaled by their shorter side and cut to the centre.
    Links within the folder are followed; those that lead out of it are refused but for `links=true`.
    """
    found = list_images(path, "data folder", links)
    return read_image_folder(found, f"{found.root.resolve().name} (image folder)", size)
