"""Where in a journal's file each verdict stands: sixteen bytes a line, however long the lines are."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from emc.journal.lines import SCHEMA

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

#: Characters of a key as `emc.specs.Probe.key` makes it; lines with such keys need no parsing to be indexed.
KEY_LENGTH = 24

#: What each hexadecimal digit stands for; 255 for any other byte.
_DIGITS = np.full(256, 255, np.uint8)
_DIGITS[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)

#: How a verdict's line begins, up to its key.
_STARTS = (f'{{"schema":{SCHEMA},"kind":"probe","key":"'.encode(), b'{"schema":1,"key":"')
_LINE_BREAK, _QUOTE, _BRACE = b'\n"}'

#: Entries that are kept in a dict before they are sorted in.
RECENT = 1 << 16


def hash_of(key: str) -> int:
    """A 64-bit number that equal keys share: the last digits of what is a digest already."""
    if len(key) == KEY_LENGTH:
        try:
            return int(key[8:], 16) & 0xFFFFFFFFFFFFFFFF
        except ValueError:
            pass
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class Scanned:
    """What whole lines hold, found without parsing.

    Attributes:
        hashes: (verdicts,) of their keys.
        starts: (verdicts,) where their lines start.
        others: where each other line starts and ends, its line break left out.
    """

    hashes: Hashes
    starts: Places
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


def _match(text: NDArray[np.uint8], starts: Places, ends: Places, prefix: bytes) -> tuple[NDArray[np.bool_], Hashes]:
    """Which lines are verdicts with this prefix, and the hashes of those."""
    width = len(prefix) + KEY_LENGTH + 1
    chosen = ends - starts >= width + 2
    if not chosen.any():
        return chosen, np.empty(0, np.uint64)
    heads = np.lib.stride_tricks.sliding_window_view(text, width)[starts[chosen]]
    digits, last = _DIGITS[heads[:, len(prefix) : -1]], ends[chosen]
    fits = (
        (heads[:, : len(prefix)] == np.frombuffer(prefix, np.uint8)).all(axis=1)
        & (heads[:, -1] == _QUOTE)
        & (digits < 16).all(axis=1)
        & (text[last - 1] == _BRACE)
        & (text[last - 2] == _BRACE)
    )
    chosen[chosen] = fits
    pairs = digits[fits, 8:]
    return chosen, (pairs[:, 0::2] << 4 | pairs[:, 1::2]).view(">u8")[:, 0].astype(np.uint64)


class Index:
    """Places in a file by the hash of a key; several keys may share one, so that whoever reads there has to check."""

    def __init__(self) -> None:
        self._hashes: Hashes = np.empty(0, np.uint64)
        self._places: Places = np.empty(0, np.int64)
        self._waiting: list[tuple[Hashes, Places]] = []
        self._recent: dict[int, list[int]] = {}

    def put(self, key: str, place: int) -> None:
        """Take in one verdict."""
        self._put(hash_of(key), place)

    def extend(self, hashes: Hashes, places: Places) -> None:
        """Take in many, in the order of the file."""
        if len(hashes) < RECENT // 64:
            for hash_, place in zip(hashes.tolist(), places.tolist(), strict=True):
                self._put(hash_, place)
        else:
            self._waiting.append((hashes, places))

    def places(self, key: str) -> list[int]:
        """Where the key may stand, the last place first."""
        if self._waiting:
            self._sort_in()
        hash_ = hash_of(key)
        recent = self._recent.get(hash_, [])
        if not len(self._hashes):
            return recent[::-1]
        wanted = np.uint64(hash_)
        end = at = int(self._hashes.searchsorted(wanted, side="right"))
        while at > 0 and self._hashes[at - 1] == wanted:
            at -= 1
        return [*reversed(recent), *self._places[at:end][::-1].tolist()]

    def __len__(self) -> int:
        self._sort_in()
        return int(np.count_nonzero(np.diff(self._hashes))) + bool(len(self._hashes))

    def places_beside(self, other: Index) -> list[int]:
        """The places of all that the other index does not hold, in the order of the file."""
        self._sort_in()
        other._sort_in()
        places: list[int] = np.sort(self._places[~np.isin(self._hashes, other._hashes)]).tolist()
        return places

    def _put(self, hash_: int, place: int) -> None:
        found = self._recent.get(hash_)
        if found is None:
            self._recent[hash_] = [place]
            if len(self._recent) >= RECENT:
                self._sort_in()
        else:
            found.append(place)

    def _sort_in(self) -> None:
        """Sort in what waits; equal hashes stay in the order of the file."""
        if not self._waiting and not self._recent:
            return
        recent = [(hash_, place) for hash_, places in self._recent.items() for place in places]
        table = np.array([hash_ for hash_, _ in recent], np.uint64), np.array([place for _, place in recent], np.int64)
        parts = [(self._hashes, self._places), *self._waiting, table]
        hashes, places = (np.concatenate(each) for each in zip(*parts, strict=True))
        self._waiting, self._recent = [], {}
        order = np.lexsort((places, hashes))
        self._hashes, self._places = hashes[order], places[order]
