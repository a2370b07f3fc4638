"""What was acknowledged is on disk, whatever happens to the process, the file or the disk."""

from __future__ import annotations

import errno
import gzip
import json
import math
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import journals
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import failure, measured

from emc.errors import JournalError
from emc.journal import SCHEMA, Journal, compact, read
from emc.results import Evidence, ProbeResult, Verdict

NOBODY = 65534


def make(number: int, **changes: Any) -> ProbeResult:
    return journals.make(number, **({"key": f"key-{number}"} | changes))


def line(result: ProbeResult, **changes: Any) -> bytes:
    """A line as the format has it, written independently of the journal."""
    values = {"schema": SCHEMA, "kind": "probe", **result.to_dict(), **changes}
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def written(path: Path, *results: ProbeResult) -> bytes:
    with Journal(path) as journal:
        journal.append(results)
    return path.read_bytes()


def held(path: Path, *numbers: int) -> list[ProbeResult | None]:
    with Journal(path) as journal:
        assert len(journal) == len(numbers)
        return [journal.get(f"key-{number}") for number in numbers]


def run_process(code: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    words = tuple(str(word) for word in words)
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


FINITE = st.floats(allow_nan=False, allow_infinity=False)
RESULTS = st.builds(
    ProbeResult,
    key=st.text(),
    n=st.integers(1, 10**9),
    replicate=st.integers(0, 99),
    attempt=st.integers(0, 9),
    verdict=st.sampled_from(Verdict),
    evidence=st.none() | st.sampled_from(Evidence),
    correct=st.integers(0, 10**9),
    loss=st.none() | FINITE,
    gradient_norm=st.none() | FINITE,
    steps=st.integers(0, 2**62),
    seconds=FINITE,
    detail=st.dictionaries(st.text(), st.none() | st.booleans() | FINITE | st.text(), max_size=3),
)


@settings(max_examples=25)
@given(st.lists(st.lists(RESULTS, max_size=3), max_size=4))
def test_what_was_appended_is_read_back_exactly(batches: list[list[ProbeResult]]) -> None:
    latest = {result.key: result for batch in batches for result in batch}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        for batch in batches:
            with Journal(path) as journal:
                journal.append(batch)
                assert [journal.get(result.key) for result in batch] == [latest_of(batch, r.key) for r in batch]
        with Journal(path) as journal:
            assert {key: journal.get(key) for key in latest} == latest
            assert len(journal) == len(latest)
        lines = path.read_bytes().splitlines() if batches else []
        assert len(lines) == sum(map(len, batches))
        assert all(json.loads(raw)["schema"] == SCHEMA for raw in lines)


def latest_of(batch: list[ProbeResult], key: str) -> ProbeResult:
    return [result for result in batch if result.key == key][-1]


def test_a_line_is_plain_json_with_its_schema(path: Path) -> None:
    assert written(path, make(0), make(1)) == line(make(0)) + line(make(1))


def test_a_probe_that_is_not_there_is_none(path: Path) -> None:
    assert Journal(None).get("absent") is None
    with Journal(path) as journal:
        assert journal.get("absent") is None
        assert len(journal) == 0


def test_an_appended_verdict_is_visible_to_other_processes_at_once(path: Path) -> None:
    with Journal(path) as journal:
        journal.append([make(0)])
        assert held(path, 0) == [make(0)]


def test_the_folder_is_made_where_it_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "journal.jsonl"
    written(path, make(0))
    assert held(path, 0) == [make(0)]


def test_without_a_path_verdicts_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Journal(None) as journal:
        journal.append([make(0), make(1)])
        assert [journal.get("key-0"), journal.get("key-1")] == [make(0), make(1)]
        assert journal.path is None
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"\n", b"\n\n"])
def test_an_empty_file_is_an_empty_journal(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if not content else "ignore")
        assert held(path) == []
        assert written(path, make(0)) == content + line(make(0))
        assert held(path, 0) == [make(0)]


def test_a_line_torn_at_any_byte_is_cut_and_costs_no_earlier_one(path: Path) -> None:
    whole, torn, after = line(make(0)) + line(make(1)), line(make(2)), line(make(3))
    for end in range(len(torn)):
        path.write_bytes(whole + torn[:end])
        assert held(path, 0, 1) == [make(0), make(1)]
        assert path.read_bytes() == whole + torn[:end], "reading alone changes nothing"
        assert written(path, make(3)) == whole + after
        assert held(path, 0, 1, 3) == [make(0), make(1), make(3)]


def test_a_file_that_is_one_torn_line_begins_anew(path: Path) -> None:
    path.write_bytes(line(make(0))[:-1])
    assert held(path) == []
    assert written(path, make(1)) == line(make(1))


@pytest.mark.parametrize("length", [1, 4094, 4095, 4096, 4097, 8191, 8192, 8193, 100_000])
@pytest.mark.parametrize("before", [0, 1])
def test_a_torn_line_of_any_length_is_cut(path: Path, length: int, before: int) -> None:
    whole = line(make(0)) * before
    path.write_bytes(whole + line(make(2, detail={"long": "x" * length}))[:length])
    assert written(path, make(1)) == whole + line(make(1))


@pytest.mark.parametrize("end", range(1, 4))
def test_half_a_character_at_the_end_is_cut(path: Path, end: int) -> None:
    whole, character = line(make(0)), "𝄞".encode()
    path.write_bytes(whole + b'{"schema":1,"key":"' + character[:end])
    assert held(path, 0) == [make(0)]
    assert written(path, make(1)) == whole + line(make(1))


def _without(name: str) -> bytes:
    values = {"schema": SCHEMA, "kind": "probe", **make(9).to_dict()}
    del values[name]
    return json.dumps(values).encode()


DAMAGE = {
    "zeros": b"\0" * 200,
    "half a character": b'{"schema":1,"key":"\xc3',
    "half a line": line(make(9))[:90],
    "two lines run together": line(make(8))[:-1] + line(make(9))[:-1],
    "no json": b"hello",
    "a number": b"3",
    "a list": b"[1, 2]",
    "no schema": _without("schema"),
    "no kind": _without("kind"),
    "kind that is no kind": line(make(9), kind=[1])[:-1],
    "schema 0": line(make(9), schema=0)[:-1],
    "schema true": line(make(9), schema=True)[:-1],
    "schema of text": line(make(9), schema="1")[:-1],
    "schema null": line(make(9), schema=None)[:-1],
    "no verdict": _without("verdict"),
    "no key": _without("key"),
    "unknown verdict": line(make(9), verdict="maybe")[:-1],
    "unknown evidence": line(make(9), evidence="hunch")[:-1],
    "evidence of the wrong type": line(make(9), evidence=3)[:-1],
    "key that is no key": line(make(9), key=[1])[:-1],
    "a field too many": line(make(9), colour="red")[:-1],
    "endless nesting": b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_line_in_the_middle_is_skipped_with_a_warning(path: Path, damage: bytes) -> None:
    path.write_bytes(line(make(0)) + damage + b"\n" + line(make(1)))
    with pytest.warns(UserWarning, match=r"journal .*journal\.jsonl: damaged lines skipped: 1"):
        assert held(path, 0, 1) == [make(0), make(1)]


def test_all_damaged_lines_are_counted_in_one_warning(path: Path) -> None:
    path.write_bytes(b"".join(damage + b"\n" for damage in DAMAGE.values()) + line(make(0)))
    with pytest.warns(UserWarning, match=f"damaged lines skipped: {len(DAMAGE)}") as caught:
        assert held(path, 0) == [make(0)]
    assert len(caught) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
FIELDS = st.dictionaries(
    st.sampled_from(["schema", "kind", *make(9).to_dict()]), JSON.filter(lambda v: v != 0), max_size=3
)


@settings(max_examples=100)
@given(st.binary() | JSON | FIELDS)
def test_whatever_stands_between_them_lines_are_not_lost(content: Any) -> None:
    if isinstance(content, dict):
        content = {**make(9).to_dict(), "kind": "probe", "schema": SCHEMA, **content}
        if isinstance(content["schema"], int | float) and content["schema"] > SCHEMA:
            content["schema"] = SCHEMA
    raw = content.replace(b"\n", b"") if isinstance(content, bytes) else json.dumps(content).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        path.write_bytes(line(make(0)) + raw + b"\n" + line(make(1)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Journal(path) as journal:
                assert [journal.get("key-0"), journal.get("key-1")] == [make(0), make(1)]


@pytest.mark.parametrize("schema", [SCHEMA + 1, SCHEMA + 0.5, 10**30])
@pytest.mark.parametrize("known", [True, False])
def test_a_newer_schema_is_refused_in_one_sentence(path: Path, schema: float, known: bool) -> None:
    newer = line(make(1), schema=schema) if known else json.dumps({"schema": schema, "what": "else"}).encode() + b"\n"
    content = line(make(0)) + newer
    path.write_bytes(content)
    with pytest.raises(JournalError) as caught:
        Journal(path)
    assert str(caught.value) == (
        f"journal {path} must have schema {SCHEMA} or older, got {schema}; update emc to read it"
    )
    assert path.read_bytes() == content


def test_no_file_stays_open_when_a_journal_is_refused(path: Path) -> None:
    path.write_bytes(line(make(0), schema=SCHEMA + 1))
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(JournalError, match="update emc"):
            Journal(path)
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize("kind", ["folder", "pipe", "/dev/null", "/dev/full", "/dev/zero"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind  # an absolute path stands for itself
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(JournalError) as caught:
        Journal(path)
    assert str(caught.value) == f"the journal must be a file, got {path}; choose another with --journal"


@pytest.mark.parametrize(
    "content",
    [b"my notes\nline two\nlast line", b"one line", b'{"name": "a.json"}\n', gzip.compress(line(make(0))), b"\0" * 50],
)
def test_a_file_that_is_no_journal_is_refused_and_kept(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for write in (Journal, compact):
        with pytest.raises(JournalError, match=r"only to a journal or an empty file, got .*; choose another"):
            write(path)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("below", ["journal.jsonl", "folder/journal.jsonl"])
def test_a_path_below_a_file_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / below
    with pytest.raises(JournalError) as caught:
        Journal(path)
    assert str(caught.value).startswith(f"the journal {path} cannot be opened: ")
    assert str(caught.value).endswith("; free the way or choose another with --journal")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working directory in which nothing can be made, with a journal that cannot be written."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    (folder / "there.jsonl").write_bytes(line(make(0)))
    (folder / "there.jsonl").chmod(0o444)
    folder.chmod(0o555)
    monkeypatch.chdir(folder)
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)  # permission bits bind no root
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("path", ["new.jsonl", "folder/new.jsonl", "there.jsonl"])
@pytest.mark.usefixtures("read_only")
def test_a_read_only_folder_is_told_in_one_sentence(path: str) -> None:
    with pytest.raises(JournalError) as caught:
        Journal(path)
    assert str(caught.value) == (
        f"the journal {path} cannot be opened: Permission denied; free the way or choose another with --journal"
    )
    assert os.listdir(".") == ["there.jsonl"]


FILL_THE_DISK = """
import resource, sys
from emc.errors import JournalError
from emc.journal import Journal
from emc.results import ProbeResult, Verdict

path, limit, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
journal = Journal(path)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

def results(start):
    return [ProbeResult(f"key-{i}", 16, i, 0, Verdict.FITTED) for i in range(start, start + batch)]

acknowledged = 0
try:
    while acknowledged < 1000:
        journal.append(results(acknowledged))
        acknowledged += batch
except JournalError as error:
    print(error)
print(acknowledged, len(journal), journal.get(f"key-{acknowledged}"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(results(acknowledged))
"""


@pytest.mark.parametrize(("limit", "batch"), [(1000, 1), (1000, 3), (10, 2)])
def test_a_full_disk_loses_nothing_acknowledged_and_tears_nothing(path: Path, limit: int, batch: int) -> None:
    done = run_process(FILL_THE_DISK, path, str(limit), str(batch))
    assert done.stderr == ""
    message, counts = done.stdout.splitlines()
    assert message == (
        f"the journal {path} cannot be written: File too large; free the way or choose another with --journal"
    )
    size = len(line(ProbeResult("key-0", 16, 0, 0, Verdict.FITTED)))
    acknowledged = limit // (batch * size) * batch
    assert counts == f"{acknowledged} {acknowledged} None"
    keys = [json.loads(raw)["key"] for raw in path.read_bytes().splitlines()]
    assert keys == [f"key-{number}" for number in range(acknowledged + batch)], "room again: the next append is whole"
    assert path.read_bytes().endswith(b"\n")


def test_a_verdict_that_could_not_be_synced_is_not_acknowledged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(path) as journal:
        journal.append([make(0)])
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", _fail)
            with pytest.raises(JournalError, match="cannot be written: Input/output error; free the way or choose"):
                journal.append([make(1), make(2)])
        assert path.read_bytes() == line(make(0))
        assert [journal.get("key-1"), len(journal)] == [None, 1]
        journal.append([make(1)])
    assert held(path, 0, 1) == [make(0), make(1)]


def _fail(_descriptor: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_verdict_counts_only_after_it_was_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, ProbeResult | None]] = []
    sync = os.fsync
    with Journal(path) as journal:
        monkeypatch.setattr(os, "fsync", lambda d: (seen.append((path.read_bytes(), journal.get("key-0"))), sync(d)))
        journal.append([make(0)])
        assert journal.get("key-0") == make(0)
    assert seen == [(line(make(0)), None)]


def test_a_group_grows_until_a_sync_takes_no_more_than_its_share(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, synced = [0.0], []

    def sync(_descriptor: int) -> None:
        clock[0] += 0.004
        synced.append(len(path.read_bytes().splitlines()))

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr("emc.journal.shared_file.time.monotonic", lambda: clock[0])
    with Journal(path) as journal:
        for number in range(60):
            journal.append([make(number)], grow=True)
            assert journal.get(f"key-{number}") == make(number)
            assert journal.synced == (synced[-1] == number + 1)
            clock[0] += 0.010
        assert len(path.read_bytes().splitlines()) == 60, "what is written outlives the process, synced or not"
        # A sync of 4 ms may come every 200, which are 20 verdicts.
        assert synced == [1, 21, 41]
        journal.sync()
        journal.sync()
        assert synced == [1, 21, 41, 60]
        journal.append([make(60)], grow=True)
        assert not journal.synced
    assert synced == [1, 21, 41, 60, 61], "closing syncs"


def test_a_group_that_cannot_be_synced_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path)
    journal.append([make(0)])
    journal.append([make(1)], grow=True)
    journal._file._next_sync = math.inf
    journal.append([make(2)], grow=True)
    monkeypatch.setattr(os, "fsync", _fail)
    for end in (journal.sync, journal.close):
        with pytest.raises(JournalError, match="cannot be written: Input/output error; free the way or choose"):
            end()
    monkeypatch.undo()
    assert held(path, 0, 1, 2) == [make(0), make(1), make(2)]


def test_a_verdict_that_is_no_json_is_refused_with_its_whole_batch(path: Path) -> None:
    with Journal(path) as journal:
        with pytest.raises(ValueError, match="not JSON compliant"):
            journal.append([make(0), make(1, loss=float("nan"))])
        assert len(journal) == 0
    assert path.read_bytes() == b""


APPEND_AT_ONCE = """
import sys
from emc.journal import Journal
from emc.results import ProbeResult, Verdict

path, name = sys.argv[1:]
with Journal(path) as journal:
    print("ready", flush=True)
    sys.stdin.readline()
    for start in range(0, 150, 3):
        numbers = range(start, start + 3)
        detail = {"filling": "x" * (start * 40)}
        journal.append([ProbeResult(f"{name}-{i}", 16, i, 0, Verdict.FITTED, detail=detail) for i in numbers])
"""


def test_two_processes_that_append_at_once_lose_nothing(path: Path) -> None:
    path.write_bytes(line(make(0)) + b'{"schema":1,"ke')
    start = [sys.executable, "-c", APPEND_AT_ONCE, str(path)]
    writers = [
        subprocess.Popen([*start, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    keys = [json.loads(raw)["key"] for raw in path.read_bytes().splitlines()]
    assert keys[0] == "key-0"
    for name in "ab":
        own = [key for key in keys if key.startswith(name)]
        assert own == [f"{name}-{i}" for i in range(150)]
    batches = ["".join(key[0] for key in keys[at : at + 3]) for at in range(1, len(keys), 3)]
    assert set(batches) == {"aaa", "bbb"}, "a batch stays together"
    with Journal(path) as journal:
        assert len(journal) == 301


def test_nothing_is_ever_unpickled(path: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        bomb = pickle.dumps(Bomb(), protocol)
        path.write_bytes(bomb + b"\n" + line(make(0)))
        with pytest.warns(UserWarning, match="damaged lines skipped"):
            assert held(path, 0) == [make(0)]
    assert os.listdir(tmp_path) == [path.name]
    pickle.loads(bomb)
    assert (tmp_path / "exploded").is_dir(), "the bomb is a live one"


def test_a_record_that_is_the_latest_already_is_not_written_again(tmp_path: Path) -> None:
    first, second = (measured("f", emc=emc) for emc in (1, 2))
    failed = failure("f", error='with "fingerprint":"g" in it')
    path = tmp_path / "j"
    for _ in range(2):
        with Journal(path) as journal:
            for record in (first, first, second, second, failed, second):
                journal.note(record)
    kinds = [(record["kind"], record.get("emc")) for record in read(path)]
    once = [("measurement", 1), ("measurement", 2), ("failed", None), ("measurement", 2)]
    assert kinds == once + once
