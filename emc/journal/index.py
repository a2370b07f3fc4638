"""Where in a journal's file each verdict stands: sixteen bytes a line, however long the lines are."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from emc.journal.lines import SCHEMA

Integers = NDArray[np.int64]

#: Characters of a key as `emc.specs.Probe.key` makes it; lines with such keys need no parsing to be indexed.
KEY_LENGTH = 24
_HEXADECIMAL = np.isin(np.arange(256), np.frombuffer(b"0123456789abcdef", np.uint8))

#: How a verdict's line begins, up to its key.
_STARTS = (f'{{"schema":{SCHEMA},"kind":"probe","key":"'.encode(), b'{"schema":1,"key":"')
_LINE_BREAK, _QUOTE, _BRACE = b'\n"}'

#: Odd random numbers; a key's three words times these, added up modulo 2**64, are its hash.
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
_FACTOR_ARRAY = np.array(_FACTORS, np.uint64)
_WORDS = struct.Struct("<3Q")

#: Entries that are kept in a dict before they are sorted in.
RECENT = 1 << 16


def hash_of(key: str) -> int:
    """A signed 64-bit number that equal keys share."""
    text = key.encode("utf-8", "surrogatepass")
    if len(text) != KEY_LENGTH or text.translate(None, b"0123456789abcdef"):
        return int.from_bytes(blake2b(text, digest_size=8).digest(), "little", signed=True)
    first, second, third = _WORDS.unpack(text)
    mixed: int = (first * _FACTORS[0] + second * _FACTORS[1] + third * _FACTORS[2]) & 0xFFFFFFFFFFFFFFFF
    return mixed - ((mixed & 0x8000000000000000) << 1)


@dataclass(frozen=True)
class Scanned:
    """What whole lines hold, found without parsing.

    Attributes:
        hashes: (verdicts,) of their keys.
        starts: (verdicts,) where their lines start.
        others: where each other line starts and ends, its line break left out.
    """

    hashes: Integers
    starts: Integers
    others: list[tuple[int, int]]


def scan(data: bytes) -> Scanned:
    """Find the verdicts among whole lines by how emc writes them: start, key of hexadecimal digits, closing braces."""
    text = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(text == _LINE_BREAK)
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    left = np.arange(len(ends))
    found = []
    for prefix in _STARTS:
        chosen, hashes = _match(text, starts[left], ends[left], prefix)
        found.append((hashes, starts[left[chosen]]))
        left = left[~chosen]
    hashes, places = (np.concatenate(parts) for parts in zip(*found, strict=True))
    others = list(zip(starts[left].tolist(), ends[left].tolist(), strict=True))
    order = np.argsort(places, kind="stable")
    return Scanned(hashes[order], places[order], others)


def _match(
    text: NDArray[np.uint8], starts: Integers, ends: Integers, prefix: bytes
) -> tuple[NDArray[np.bool_], Integers]:
    """Which lines are verdicts with this prefix, and the hashes of those."""
    width = len(prefix) + KEY_LENGTH + 1
    chosen = ends - starts >= width + 2
    if not chosen.any():
        return chosen, np.empty(0, np.int64)
    heads = np.lib.stride_tricks.sliding_window_view(text, width)[starts[chosen]]
    keys, last = heads[:, len(prefix) : -1], ends[chosen]
    fits = (
        (heads[:, : len(prefix)] == np.frombuffer(prefix, np.uint8)).all(axis=1)
        & (heads[:, -1] == _QUOTE)
        & _HEXADECIMAL[keys].all(axis=1)
        & (text[last - 1] == _BRACE)
        & (text[last - 2] == _BRACE)
    )
    chosen[chosen] = fits
    words = np.ascontiguousarray(keys[fits]).view("<u8").astype(np.uint64, copy=False)
    return chosen, (words * _FACTOR_ARRAY).sum(axis=1, dtype=np.uint64).view(np.int64)


class Index:
    """Places in a file by the hash of a key; several keys may share one, so that whoever reads there has to check."""

    def __init__(self) -> None:
        self._hashes: Integers = np.empty(0, np.int64)
        self._places: Integers = np.empty(0, np.int64)
        self._waiting: list[tuple[Integers, Integers]] = []
        self._recent: dict[int, list[int]] = {}

    def put(self, key: str, place: int) -> None:
        """Take in one verdict."""
        self._recent.setdefault(hash_of(key), []).append(place)
        if len(self._recent) >= RECENT:
            self._sort_in()

    def extend(self, hashes: Integers, places: Integers) -> None:
        """Take in many, in the order of the file."""
        if len(hashes) < RECENT // 64:
            for hash_, place in zip(hashes.tolist(), places.tolist(), strict=True):
                self._recent.setdefault(hash_, []).append(place)
        else:
            self._waiting.append((hashes, places))

    def places(self, key: str) -> Iterator[int]:
        """Where the key may stand, the last place first."""
        if self._waiting:
            self._sort_in()
        hash_ = hash_of(key)
        yield from reversed(self._recent.get(hash_, ()))
        if len(self._hashes):
            at = int(self._hashes.searchsorted(np.int64(hash_), side="right"))
            while at > 0 and self._hashes[at - 1] == hash_:
                at -= 1
                yield int(self._places[at])

    def __len__(self) -> int:
        self._sort_in()
        return int(np.count_nonzero(np.diff(self._hashes))) + bool(len(self._hashes))

    def places_beside(self, other: Index) -> list[int]:
        """The places of all that the other index does not hold, in the order of the file."""
        self._sort_in()
        other._sort_in()
        return np.sort(self._places[~np.isin(self._hashes, other._hashes)]).tolist()  # type: ignore[no-any-return]

    def _sort_in(self) -> None:
        """Sort in what waits; equal hashes stay in the order of the file."""
        if not self._waiting and not self._recent:
            return
        recent = [(hash_, place) for hash_, places in self._recent.items() for place in places]
        table = np.array(recent, np.int64).reshape(-1, 2)
        parts = [(self._hashes, self._places), *self._waiting, (table[:, 0], table[:, 1])]
        hashes, places = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.lexsort((places, hashes))
        self._hashes, self._places = hashes[order], places[order]
        self._waiting, self._recent = [], {}
