"""Datasets of OpenML, by the `openml` client: its feather cache, downloaded whole or not at all, and no pickle.

The client keeps its list of columns in a pickle beside the feather file and reads it back on a second load. So here it
only downloads and converts, in a folder of its own; what it made is then read by pandas.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emc.data import DATA
from emc.data.cache import DATA_VARIABLE, data_root, install, one_line, staging
from emc.data.dataset import Raw
from emc.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

#: Tries of one request; the client waits a second between them.
_TRIES = 2


@DATA.register("covertype")
def covertype() -> Raw:
    """Forest cover types, 581,012 rows, 54 features, 7 classes (OpenML 1596)."""
    return _load(1596, expected="covertype")


@DATA.register("adult")
def adult() -> Raw:
    """Adult census income, 48,842 rows, 14 features, 2 classes (OpenML 1590)."""
    return _load(1590, expected="adult")


@DATA.register("credit")
def credit() -> Raw:
    """Default of credit-card clients, 30,000 rows, 23 features, 2 classes (OpenML 42477)."""
    return _load(42477, expected="default-of-credit-card-clients", identifiers=("id",))


@DATA.register("openml")
def openml(*, id: int, target: str | None = None) -> Raw:
    """Any dense table of OpenML by its id; the target is the one OpenML names unless you do."""
    return _load(id, target=target)


def _load(
    number: int, *, expected: str | None = None, target: str | None = None, identifiers: tuple[str, ...] = ()
) -> Raw:
    """Dataset `number`, from the data root or the network.

    Args:
        number: OpenML's id.
        expected: the name the id must have.
        target: the target column; None for the one OpenML names.
        identifiers: columns to drop where they exist, in lower case.

    Raises:
        DataError: it cannot be had, or is not the one expected.
    """
    from emc.data.tables import encode_table, split_target

    owner = f"data {expected or 'openml'} (OpenML {number})"
    with _translated_errors(owner):
        facts, frame = _read(number, expected)
    named = target or facts.default_target_attribute
    if not named or "," in named:
        raise DataError(f"{owner} needs one target column, got {named or 'none'} from OpenML; name one by target=")
    known = [str(label) for label in frame.columns]
    unused = {*_names(facts.row_id_attribute), *_names(facts.ignore_attribute)}
    drop = tuple(name for name in known if name != named and (name in unused or name.lower() in identifiers))
    features, labels = split_target(frame, named, drop, owner)
    notes: tuple[str, ...] = (f"OpenML {number}, version {facts.version}",)
    if drop:
        notes += (f"columns that identify rows or that OpenML ignores were dropped: {', '.join(drop)}",)
    return encode_table(str(facts.name), features, labels, owner=owner, notes=notes)


def _read(number: int, expected: str | None) -> tuple[Any, pd.DataFrame]:
    """The client's description of a dataset, and its table."""
    import pandas as pd

    home = data_root() / "openml"
    with _client(home) as client:
        folder = _folder(client, number)
    if not any((home / folder).glob("*.feather")):
        with staging(home) as stage, _client(stage) as client:
            facts = client.datasets.get_dataset(number, download_data=False, cache_format="feather")
            _check_name(facts.name, number, expected)
            if "sparse" in facts.format.lower():
                raise DataError(f'OpenML tables must be dense, got "{facts.name}" ({number}) as {facts.format}')
            facts.get_data()
            install(stage, home, [folder])
    with _client(home) as client:
        facts = client.datasets.get_dataset(number, download_data=False, cache_format="feather")
    _check_name(facts.name, number, expected)
    return facts, pd.read_feather(next((home / folder).glob("*.feather")))


def _folder(client: Any, number: int) -> Path:
    """Where the client keeps a dataset, relative to its cache."""
    cache = Path(client.config.get_cache_directory())
    return cache.relative_to(client.config.get_config_as_dict()["cachedir"]) / "datasets" / str(number)


def _names(value: str | list[str] | None) -> list[str]:
    """The client gives None, one name, several with commas between, or a list."""
    text = ",".join(value) if isinstance(value, list) else value or ""
    return [part.strip() for part in text.split(",")]


def _check_name(name: str, number: int, expected: str | None) -> None:
    if expected is not None and name != expected:
        raise DataError(f'OpenML {number} must be "{expected}", got "{name}" from the server; check the server in use')


@contextmanager
def _client(root: Path) -> Iterator[Any]:
    """The client with its cache at `root`, few retries and no messages; its settings are put back afterwards."""
    import openml

    before = openml.config.get_config_as_dict()
    silence = logging.NullHandler()  # the client logs by the root logger, which would print on its own
    logging.getLogger().addHandler(silence)
    openml.config.set_root_cache_directory(root)
    openml.config.set_retry_policy("human", _TRIES)
    try:
        yield openml
    except openml.exceptions.OpenMLServerNoResult as error:
        raise DataError(f"an OpenML id must exist at {before['server']}, got {one_line(error)}; check id") from error
    finally:
        openml.config.set_root_cache_directory(before["cachedir"])
        openml.config.set_retry_policy(before["retry_policy"], before["connection_n_retries"])
        logging.getLogger().removeHandler(silence)


@contextmanager
def _translated_errors(owner: str) -> Iterator[None]:
    """Whatever the client, its HTTP and storage libraries or its parsers raise, as one sentence."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{owner} needs a copy in {data_root() / 'openml'} or OpenML's server to answer, got neither "
            f"({one_line(error)}); connect to the network or point {DATA_VARIABLE} at a folder with a copy"
        ) from error
