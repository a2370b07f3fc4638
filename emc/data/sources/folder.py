"""A user's own images."""

from __future__ import annotations

from emc.data import DATA
from emc.data.dataset import Raw
from emc.data.encoded import IDENTITIES, check_options, lazy_images
from emc.data.folder_files import FolderFiles
from emc.data.folders import list_images, read_image_folder

#: Known by the pixels they are decoded to, all of which are held in memory.
_PIXELS = "pixels"

_OWNER = "data folder"


@DATA.register("folder")
def folder(*, path: str, size: int = 32, links: bool = False, identity: str = _PIXELS) -> Raw:
    """Your images: a folder with one sub-folder a class, decoded once and cached as one array.

    All become RGB of size x size pixels; images of another size are scaled by their shorter side and cut to the centre.
    Links within the folder are followed; those that lead out of it are refused but for `links=true`. For millions of
    images, `identity=content` or `listing` reads only those that are needed, as `webdataset` does.

    Raises:
        SpecError: an option out of range.
        DataError: the folder or an image cannot be read.
    """
    check_options(_OWNER, size, identity, (_PIXELS, *IDENTITIES))
    found = list_images(path, _OWNER, links)
    name = f"{found.root.resolve().name} (image folder)"
    if identity == _PIXELS:
        return read_image_folder(found, name, size)
    files, y = FolderFiles.of(found, hashed=identity == "content")
    return lazy_images(name, files, y, found.classes, size, identity)
