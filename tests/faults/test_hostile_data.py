"""Hostile files as datasets, results and outputs: one sentence, exit code 2, no code run, nothing written."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from children import Ledger
from click.testing import CliRunner, Result
from PIL import Image

from emc.cli.main import main
from emc.data import cache, decoding, load
from emc.errors import DataError, printable, sentence, shown
from emc.files import read_text
from emc.results import EmcResult

X, Y = np.arange(24.0).reshape(12, 2), np.arange(12) % 2
TABLE = b"width,kind\n" + b"".join(b"%d,%c\n" % (i, b"ab"[i % 2]) for i in range(40))


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def png(width: int, height: int, rows: int) -> bytes:
    """A grey PNG of that size, of which only some rows are there."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = zlib.compress(bytes((width + 1) * rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def images(folder: Path, **more: bytes) -> str:
    """Two classes of sound images, and files beside them."""
    for label in "ab":
        (folder / "images" / label).mkdir(parents=True)
        for number in range(3):
            colour = (50 * number, 100 if label == "a" else 200, 7)
            Image.new("RGB", (8, 8), colour).save(folder / "images" / label / f"{number}.png")
    for name, content in more.items():
        (folder / "images" / "a" / f"{name}.png").write_bytes(content)
    return "folder:path=images,size=8"


def fifo(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "csv:path=pipe,target=kind"


def npz_fifo(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "npz:path=pipe"


def link_out(folder: Path) -> str:
    spec = images(folder)
    (folder / "secret.png").write_bytes(png(8, 8, 8))
    os.symlink(folder / "secret.png", folder / "images" / "a" / "link.png")
    return spec


def folder_link_out(folder: Path) -> str:
    spec = images(folder)
    (folder / "other").mkdir()
    (folder / "other" / "0.png").write_bytes(png(8, 8, 8))
    os.symlink(folder / "other", folder / "images" / "c")
    return spec


def link_loop(folder: Path) -> str:
    spec = images(folder)
    os.symlink(".", folder / "images" / "c")
    return spec


def npz(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "arrays.npz", **{"X": X, "y": Y, **arrays})
    return "npz:path=arrays.npz"


def npz_member(folder: Path, header: bytes, size: int = 0) -> str:
    """An archive whose X is a header of its own, followed by zeros."""
    y = io.BytesIO()
    np.save(y, Y)
    with zipfile.ZipFile(folder / "arrays.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(size))
        archive.writestr("y.npy", y.getvalue())
    return "npz:path=arrays.npz"


def huge_npz(folder: Path) -> str:
    """An archive whose entry says that it unpacks to 2 TB."""
    spec = npz(folder)
    content = bytearray((folder / "arrays.npz").read_bytes())
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"PK\x01\x02"))  # the first of two entries of the directory
    name, extra, comment = struct.unpack_from("<HHH", content, at + 28)
    zip64 = struct.pack("<HHQ", 1, 8, 2 * 10**12)
    content[at + 24 : at + 28] = b"\xff" * 4
    content[at + 30 : at + 32] = struct.pack("<H", extra + len(zip64))
    place = at + 46 + name + extra
    content[place:place] = zip64
    end = content.rindex(b"PK\x05\x06")
    length = struct.unpack_from("<I", content, end + 12)[0]
    content[end + 12 : end + 16] = struct.pack("<I", length + len(zip64))
    (folder / "arrays.npz").write_bytes(content)
    assert comment == 0
    return spec


def csv(folder: Path, content: bytes, more: str = "") -> str:
    (folder / "table.csv").write_bytes(content)
    return f"csv:path=table.csv,target=kind{more}"


def packed(folder: Path) -> str:
    import gzip

    (folder / "table.csv.gz").write_bytes(gzip.compress(TABLE))
    return "csv:path=table.csv.gz,target=kind"


HOSTILE: dict[str, tuple[Callable[[Path], str], str]] = {
    "a table that is a pipe": (fifo, "which is a device or pipe"),
    "arrays that are a pipe": (npz_fifo, "which is a device or pipe"),
    "a table without end": (lambda _: "csv:path=/dev/zero,target=kind", "which is a device or pipe"),
    "a link out of the folder": (link_out, "got 1 images by links that lead out of it"),
    "a class that is a link out": (folder_link_out, "got 1 images by links that lead out of it"),
    "a link to its own folder": (link_loop, "got none directly in"),
    "a PNG of 40 gigapixels": (lambda at: images(at, bomb=png(200_000, 200_000, 1)), "decompression bomb"),
    "a PNG of 100 megapixels": (lambda at: images(at, bomb=png(10_000, 10_000, 1)), "exceeds limit"),
    "a torn PNG": (lambda at: images(at, torn=png(8, 8, 8)[:43]), "every image must be readable"),
    "half of a PNG": (lambda at: images(at, half=png(800, 800, 800)[:400]), "every image must be readable"),
    "text named .png": (lambda at: images(at, text=b"<?php system('id') ?>"), "every image must be readable"),
    "a pickle": (lambda at: npz(at, X=np.array([_Bomb()] * 12, dtype=object)), "never unpickles"),
    "a pickle for classes": (lambda at: npz(at, y=np.array([_Bomb()] * 12, dtype=object)), "never unpickles"),
    "arrays of records": (lambda at: npz(at, X=np.zeros(12, dtype="f4,i8")), "needs numbers of shape"),
    "complex numbers": (lambda at: npz(at, X=X * 1j), "needs numbers of shape"),
    "dates": (lambda at: npz(at, X=X.astype("M8[s]")), "needs numbers of shape"),
    "NaN": (lambda at: npz(at, X=X * np.nan), "inputs must be finite"),
    "numbers too large for float32": (lambda at: npz(at, X=X * 1e300) + ",standardise=false", "must be finite"),
    "one class a column": (lambda at: npz(at, y=np.eye(12)), "one class a row"),
    "an archive of 2 TB": (huge_npz, "must fit into memory"),
    "a header of 8 TB": (
        lambda at: npz_member(at, b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}\n"),
        "never unpickles",
    ),
    "a header that overflows": (
        lambda at: npz_member(at, b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d, 9)}\n" % 2**62),
        "never unpickles",
    ),
    "a header of code": (lambda at: npz_member(at, b"__import__('os').mkdir('exploded')\n"), "never unpickles"),
    "a header of parentheses": (lambda at: npz_member(at, b"(" * 5000 + b"\n"), "never unpickles"),
    "a header of a pickled type": (
        lambda at: npz_member(at, b"{'descr': '|O', 'fortran_order': False, 'shape': (12, 2)}\n", 99),
        "never unpickles",
    ),
    "100,000 columns": (lambda at: csv(at, b"a," * 100_000 + b"kind\n"), "a header of at most 20,000 columns"),
    "one line of 5 MB": (lambda at: csv(at, b"a" * 5_000_000), "a header of at most"),
    "fields of 1 MB": (lambda at: csv(at, b"w,kind\n" + b"x" * 10**6 + b",a\n"), "at least one column that varies"),
    "a column of formulas": (
        lambda at: csv(at, b"w,kind\n" + b"=HYPERLINK(1),a\n" * 9),
        "at least one column that varies",
    ),
    "NUL bytes": (lambda at: csv(at, b"w\0,kind\n\0,\0\n"), "data csv"),
    "two encodings": (lambda at: csv(at, TABLE + "é,a\n".encode("latin-1")), "in UTF-8"),
    "UTF-16": (lambda at: csv(at, TABLE.decode().encode("utf-16")), "in UTF-8"),
    "an unclosed quote": (lambda at: csv(at, b'w,kind\n"1,a\n' + b"2,b\n" * 9), "data csv"),
    "a quote as delimiter": (lambda at: csv(at, TABLE, ',delimiter="'), "data csv"),
    "a packed table": (packed, "in UTF-8"),
    "a home of nobody": (lambda _: "csv:path=~nobody-at-all/x.csv,target=kind", "without such a home folder"),
    "a name of 10 kB": (lambda _: f"csv:path={'x' * 10_000},target=kind", "file name too long"),
    "a name that moves the cursor": (lambda _: "csv:path=\x1b[2J\x1b]0;x\x07,target=kind", "\\u001b[2J"),
}


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "cache" not in path.parts)


def check_sentence(outcome: Result) -> str:
    """One printable sentence of bounded length and exit code 2."""
    assert outcome.exit_code == 2, outcome.output
    assert outcome.stdout == ""
    said = outcome.stderr.removesuffix("\n")
    assert said.startswith("error: ")
    assert said.isprintable()
    assert len(said) < 2000
    return said


@pytest.mark.parametrize(("make", "said"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = make(tmp_path)
    before = contents(tmp_path)
    outcome = CliRunner().invoke(main, ["measure", "--quiet", "--dry-run", "--journal", "none", "--data", spec])
    assert said in check_sentence(outcome)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("links", [False, True])
def test_links_within_the_folder_are_followed_and_others_on_request(tmp_path: Path, links: bool) -> None:
    images(tmp_path)
    os.symlink("../b/0.png", tmp_path / "images" / "a" / "inside.png")
    os.symlink(tmp_path / "nowhere.png", tmp_path / "images" / "a" / "broken.png")
    os.mkfifo(tmp_path / "images" / "a" / "pipe.png")
    if links:
        os.symlink(tmp_path / "images" / "b", tmp_path / "images" / "c")
        (tmp_path / "images" / "b").rename(tmp_path / "b")
        os.symlink(tmp_path / "b", tmp_path / "images" / "b")
    pool = load(f"folder:path={tmp_path / 'images'},size=8,links={str(links).lower()}", duplicates="keep")
    assert pool.facts.rows == (10 if links else 7)
    assert pool.facts.notes == ("2 files that are no images were ignored",)


def test_names_of_any_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images(tmp_path)
    os.rename(b"images/a", b"images/\x1b[31m\xff")
    os.rename("images/b", "images/$b^\n{")
    words = ["measure", "--quiet", "--data", "folder:path=images,size=8", "--model", "linear", "--n-max", "2"]
    words += ["--min-steps", "1", "--max-epochs", "1", "--replicates", "1", "--journal", "none"]
    outcome = CliRunner().invoke(main, [*words, "--json", "r.json", "--plot", "$r.png"])
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert all(line.isprintable() for line in outcome.stdout.split("\n"))
    outcome = CliRunner().invoke(main, ["show", "r.json"])
    assert outcome.exit_code == 0
    assert all(line.isprintable() for line in outcome.stdout.split("\n"))


def test_large_images_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = images(tmp_path, large=png(64, 64, 64))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(decoding, "_LARGE_PIXELS", 100)
    monkeypatch.setattr(decoding, "_THREADED_BYTES", 0)
    assert load(spec, duplicates="keep").facts.rows == 7


def test_what_cannot_fit_into_memory_is_refused() -> None:
    cache.check_memory(2**20, "a pool")
    with pytest.raises(DataError, match=r"a pool must fit into memory, got 1,024.0 GiB for a machine of"):
        cache.check_memory(2**40, "a pool")


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "../../x"],
        ["--model", "a/b"],
        ["--model", "file.py:name"],
        ["--model", "os.system:x=1"],
        ["--model", "x" * 10_000],
        ["--model", "a\nb\x1b[2J"],
        ["--model", "mlp:" + ",".join(f"k{number}=1" for number in range(5000))],
        ["--model", "mlp:width=" + "9" * 5000],
        ["--data", "openml:id=../../x"],
        ["--journal", "x" * 10_000],
        ["--json", "x" * 10_000],
        ["--plot", "x\n.png/y.png"],
        ["--config", "/dev/zero"],
        ["--data-root", "/dev/null"],
    ],
    ids=lambda words: " ".join(words)[:30],
)
def test_hostile_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--data", "wine", "--n-max", "2", "--min-steps", "1", "--max-epochs", "1", "--replicates", "1"]
    check_sentence(CliRunner().invoke(main, ["measure", "--quiet", *small, *words]))
    assert contents(tmp_path) in ([], [".emc", ".emc/journal.jsonl"])


def test_a_text_with_nul(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text('journal = "a\\u0000b"\n')
    said = check_sentence(CliRunner().invoke(main, ["measure", "--config", "c.toml"]))
    assert "--journal takes text without NUL characters" in said


def test_read_text_refuses_what_may_never_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        read_text(tmp_path / "pipe", 10)
    (tmp_path / "long").write_text("x" * 11)
    with pytest.raises(OSError, match="File too large"):
        read_text(tmp_path / "long", 10)
    assert read_text(tmp_path / "long", 11) == "x" * 11


def test_what_messages_repeat_is_bounded_and_printable() -> None:
    assert printable("a\x1b[31m\n\udcff\U000e0001é") == "a\\u001b[31m\\u000a\\udcff\\U000e0001é"
    assert shown(10**6) == "1000000"
    assert shown(16**5000) == "a int too large to be shown"
    assert len(shown("x" * 1000)) == 300
    long = sentence("start " + "x" * 5000 + " end")
    assert long.startswith("start")
    assert long.endswith(" end")
    assert len(long) < 1500


VALUES: list[Any] = [None, True, -1, 10**30, 1e308, "", "\x1b[2J", "x" * 5000, [], [[]], {}, {"a": 1}, ["a"], "nan"]


def mutated(rng: random.Random, value: Any) -> Any:
    """The same with one part replaced or left out."""
    if isinstance(value, dict) and value and rng.random() < 0.95:
        key = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {name: inner for name, inner in value.items() if name != key}
        return {**value, key: mutated(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        return [*value[:place], mutated(rng, value[place]), *value[place + 1 :]]
    return rng.choice(VALUES)


@pytest.mark.faults(quick=150, full=3000)
def test_result_of_nonsense(tmp_path: Path, make_result: Callable[[], EmcResult], trials: int, ledger: Ledger) -> None:
    rng, path, good = random.Random(trials), tmp_path / "r.json", json.loads(make_result().to_json())
    (tmp_path / "good.json").write_text(json.dumps(good))
    for trial in range(trials):
        path.write_text(json.dumps(mutated(rng, good)))
        words = ["show", "-v"] if trial % 2 else ["compare", str(tmp_path / "good.json")]
        outcome = CliRunner().invoke(main, [*words, str(path)])
        if outcome.exit_code == 0:
            assert all(line.isprintable() for line in outcome.stdout.split("\n"))
        else:
            check_sentence(outcome)
    ledger(trials, 0)
