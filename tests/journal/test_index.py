"""What is found without parsing is what parsing finds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import key_of, line, make, measured, old_line, record_line

from emc.journal.index import Index, hash_of, scan

KEYS = st.text("0123456789abcdef", min_size=24, max_size=24)
JUNK = st.binary(max_size=200).map(lambda raw: raw.replace(b"\n", b" ") + b"\n")
LINES = st.one_of(
    KEYS.map(lambda key: line(make(0, key=key))),
    KEYS.map(lambda key: line(make(0, key=key), base="b" * 24)),
    KEYS.map(lambda key: old_line(make(0, key=key))),
    KEYS.map(lambda key: line(make(0, key=key))[:-2] + b"\n"),
    KEYS.map(lambda key: line(make(0, key=key.upper() + "A"))),
    st.text(max_size=30).map(lambda key: line(make(0, key=key))),
    st.just(record_line(measured("f" * 24))),
    st.just(b"\n"),
    JUNK,
)


def is_at_sight(raw: bytes) -> bool:
    """Whether a line is a verdict as emc writes it, told the slow way."""
    for begin in (b'{"schema":2,"kind":"probe","key":"', b'{"schema":1,"key":"'):
        key, rest = raw[len(begin) : len(begin) + 24], raw[len(begin) + 24 :]
        digits = len(key) == 24 and all(byte in b"0123456789abcdef" for byte in key)
        if raw.startswith(begin) and digits and rest.startswith(b'"') and raw.endswith(b"}}\n"):
            return True
    return False


@settings(max_examples=200)
@given(st.lists(LINES, min_size=1, max_size=12))
def test_verdicts_are_found_at_sight(lines: list[bytes]) -> None:
    data, places, at = b"".join(lines), [], 0
    for raw in lines:
        places.append(at)
        at += len(raw)
    found = scan(data)
    expected = [(place, raw) for place, raw in zip(places, lines, strict=True) if is_at_sight(raw)]
    assert found.starts.tolist() == [place for place, _ in expected]
    assert found.hashes.tolist() == [hash_of(json.loads(raw)["key"]) for _, raw in expected]
    others = [raw[:-1] for raw in lines if not is_at_sight(raw)]
    assert [data[first:last] for first, last in found.others] == others


def test_a_hash_is_the_end_of_the_key() -> None:
    assert hash_of("0" * 23 + "f") == 15
    assert hash_of("f" * 24) == 2**64 - 1
    assert hash_of("journal") == hash_of("journal") != hash_of("journa1")


@given(st.text(max_size=40))
def test_every_text_has_a_hash(key: str) -> None:
    assert 0 <= hash_of(key) < 2**64


@pytest.mark.parametrize("recent", [1, 3, 1000])
@given(data=st.data())
def test_places_come_the_last_one_first(recent: int, data: st.DataObject) -> None:
    keys = [key_of(number) for number in range(4)]
    index, known = Index(), {key: [] for key in keys}
    place = 0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("emc.journal.index.RECENT", recent)
        for many in data.draw(st.lists(st.lists(st.sampled_from(keys), max_size=5), max_size=6)):
            places = list(range(place, place + len(many)))
            place += len(many)
            if data.draw(st.booleans()):
                index.extend(np.array([hash_of(key) for key in many], np.uint64), np.array(places, np.int64))
            else:
                for key, at in zip(many, places, strict=True):
                    index.put(key, at)
            for key, at in zip(many, places, strict=True):
                known[key].insert(0, at)
            asked = data.draw(st.sampled_from(keys))
            assert index.places(asked) == known[asked]
        assert {key: index.places(key) for key in keys} == known
        assert len(index) == sum(map(bool, known.values()))
        assert {key: index.places(key) for key in keys} == known, "counting changes nothing"


def test_places_that_another_index_has_not() -> None:
    one, other = Index(), Index()
    for number, place in enumerate([30, 10, 20]):
        one.put(key_of(number), place)
    other.put(key_of(1), 500)
    assert one.places_beside(other) == [20, 30]
    assert other.places_beside(one) == []
    assert one.places_beside(Index()) == [10, 20, 30]


def test_an_index_takes_sixteen_bytes_a_verdict() -> None:
    index = Index()
    for number in range(3000):
        index.put(key_of(number), number)
    assert len(index) == 3000
    held: list[Any] = [index._hashes, index._places]
    assert sum(array.nbytes for array in held) == 16 * 3000
    assert index._recent == {}
