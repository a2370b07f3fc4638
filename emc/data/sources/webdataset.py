"""A user's own images in tar files."""

from __future__ import annotations

from emc.data import DATA
from emc.data.dataset import Raw
from emc.data.encoded import check_options, lazy_images
from emc.data.shards import expand, read_shards

_OWNER = "data webdataset"


@DATA.register("webdataset")
def webdataset(*, path: str, size: int = 0, identity: str = "content") -> Raw:
    """Your images in WebDataset shards, `path=shards/{000..999}.tar`: members key.jpg (or .png, ...) and key.cls.

    Only the images that are needed are read, and decoded once, to RGB. `size` scales and cuts them; 0 takes them as
    they are. `identity=content` reads every byte once to know the images by; `listing` takes names, sizes, classes and
    the shards' times of change, and looks for no repeats.

    Raises:
        SpecError: an option out of range.
        DataError: a shard that is not there, is damaged or holds something else.
    """
    check_options(_OWNER, size, identity)
    paths = expand(path, _OWNER)
    shards, y, classes = read_shards(paths, _OWNER, hashed=identity == "content")
    name = paths[0].stem if len(paths) == 1 else paths[0].parent.name
    return lazy_images(f"{name} (webdataset)", shards, y, classes, size, identity)
