from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from studied import made, spread, study_of, taken_of

from emc.journal import read
from figures import __main__ as program
from figures.__main__ import STUDIES, main, missing_text, note_time, pack, page, probes_of
from figures.scales import SCALES

FEW = ("--study", "activations", "--study", "datasets")


def run(*arguments):
    found = CliRunner().invoke(main, list(arguments))
    assert found.exit_code == 0, found.output
    return found


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The smoke scale of two studies, measured."""
    folder = tmp_path_factory.mktemp("measured")
    run("--scale", "smoke", "--out", str(folder), "--device", "cpu", *FEW)
    return folder


def test_a_run_leaves_pictures_tables_captions_times_and_a_packed_journal(measured):
    names = {path.name for path in measured.iterdir() if path.is_file()}
    pictures = {f"{name}.{kind}" for name in ("activations", "datasets") for kind in ("png", "pdf", "csv")}
    assert names == pictures | {"captions.json", "times.json", "README.md", "journal.jsonl", "journal.jsonl.gz"}
    captions = json.loads((measured / "captions.json").read_text())
    assert list(captions) == ["datasets", "activations"]  # in the order of the studies
    assert captions["activations"]["title"] == study_of("activations").asks
    assert "Replicates: 2." in captions["activations"]["caption"]
    times = json.loads((measured / "times.json").read_text())
    assert times["studies"]["datasets"]["probes"] > 0
    assert "| datasets |" in (measured / "README.md").read_text()


def test_pictures_drawn_again_from_the_packed_journal_alone_are_the_same_bytes(measured, tmp_path, monkeypatch):
    def refuse(*_arguments, **_settings):
        raise AssertionError("nothing may be trained")

    monkeypatch.setattr(program.emc, "sweep", refuse)
    monkeypatch.setattr(program.emc, "curve", refuse)
    shutil.copy(measured / "journal.jsonl.gz", tmp_path)
    shutil.copy(measured / "times.json", tmp_path)
    run("--scale", "smoke", "--out", str(tmp_path), "--draw-only", *FEW)
    again = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix in (".png", ".pdf", ".csv")}
    assert len(again) == 6
    for name in (*again, "captions.json", "README.md"):
        assert (tmp_path / name).read_bytes() == (measured / name).read_bytes(), name


def test_a_second_run_trains_nothing_and_keeps_the_times(measured, tmp_path):
    for name in ("journal.jsonl.gz", "times.json"):
        shutil.copy(measured / name, tmp_path)
    found = run("--scale", "smoke", "--out", str(tmp_path), "--device", "cpu", "--study", "datasets")
    assert "datasets: 0 s, 0 probes trained" in found.output.replace("1 s", "0 s")
    assert (tmp_path / "times.json").read_bytes() == (measured / "times.json").read_bytes()
    assert (tmp_path / "journal.jsonl.gz").read_bytes() == (measured / "journal.jsonl.gz").read_bytes()


def lay(folder, rows=100):
    """Small files in the formats of CIFAR-10 as an image folder, Adult and Credit."""
    numbers = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (folder / "cifar10" / "train" / kind).mkdir(parents=True)
        for place in range(rows // 2):
            pixels = numbers.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "cifar10" / "train" / kind / f"{place}.jpg")
    ages, sides = numbers.permutation(rows), numbers.integers(0, 2, rows)
    adult = [
        f"{age}, {' Private' if age % 2 else ' ?'}, {' <=50K' if side else ' >50K'}"
        for age, side in zip(ages, sides, strict=True)
    ]
    (folder / "adult.csv").write_text("\n".join(["Age,Workclass,Salary", *adult]) + "\n")
    credit = [f"{place},{1000 * age},{side}" for place, (age, side) in enumerate(zip(ages, sides, strict=True))]
    (folder / "credit.csv").write_text("\n".join(["ID,limit,class", *credit]) + "\n")


def test_datasets_of_a_folder_are_measured_too_and_named_relative_to_it(measured, tmp_path):
    shutil.copy(measured / "journal.jsonl.gz", tmp_path)
    data = tmp_path / "data"
    lay(data)
    words = ("--scale", "smoke", "--out", str(tmp_path), "--device", "cpu", "--study", "datasets")
    run(*words, "--with-data", str(data))
    table = pd.read_csv(tmp_path / "datasets.csv")
    named = dict(zip(table["dataset"], table["kind"], strict=True))
    assert named.items() >= {"cifar10/train": "images", "adult.csv": "table", "credit.csv": "table"}.items()
    assert set(table[table["dataset"] == "cifar10/train"]["labels"]) == {"random", "semantic"}
    assert "None" not in (tmp_path / "captions.json").read_text()
    assert "cells have no result" not in (tmp_path / "captions.json").read_text()
    assert str(data) not in (tmp_path / "journal.jsonl").read_text()
    assert "WITH_DATA=FOLDER" in (tmp_path / "README.md").read_text()


def test_a_folder_without_the_datasets_is_refused_before_anything_is_trained(tmp_path):
    lay(tmp_path / "data")
    (tmp_path / "data" / "credit.csv").unlink()
    found = CliRunner().invoke(
        main, ["--scale", "smoke", "--out", str(tmp_path), "--with-data", str(tmp_path / "data")]
    )
    assert found.exit_code == 2
    assert "got none named credit.csv" in found.output
    assert not (tmp_path / "journal.jsonl").exists()


def test_a_packed_journal_holds_every_verdict_and_is_the_same_bytes_twice(measured, tmp_path):
    for name in ("a", "b"):
        pack(measured / "journal.jsonl", tmp_path / f"{name}.jsonl.gz")
    packed = tmp_path / "a.jsonl.gz"
    assert packed.read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress(packed.read_bytes()).endswith(b"}\n")
    assert len(list(read(packed, "probe"))) == probes_of(measured / "journal.jsonl") > 0
    assert probes_of(tmp_path / "absent.jsonl") == 0


def test_a_study_of_which_nothing_is_measured_gives_a_sentence_and_no_picture(measured, tmp_path):
    found = run(
        "--scale", "smoke", "--out", str(tmp_path), "--draw-only", "--study", "regularisers", "--study", "datasets",
        "--journal", str(measured / "journal.jsonl"),
    )  # fmt: skip
    assert "regularisers: nothing is measured yet that could be drawn" in found.output
    pictures = {f"datasets.{kind}" for kind in ("png", "pdf", "csv")}
    assert {path.name for path in tmp_path.iterdir()} == pictures | {"captions.json", "README.md"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--draw-only", "--journal", "absent.jsonl"], "must be there to be read, got no file absent.jsonl"),
        (["--draw-only", "--journal", "empty.jsonl"], "holds something of a study asked for"),
        (["--draw-only", "--journal", "text.jsonl.gz"], "must be packed with gzip and whole"),
        (["--journal", "text"], "only to a journal or an empty file"),
        (["--out", "text"], "a file must be usable"),
        (["--out", "/proc/none"], "a file must be usable"),
        (["--out", "/proc"], "an output file must be writable"),
        (["--minutes", "-1"], "--minutes must be above 0"),
        (["--minutes", "nan"], "--minutes must be above 0"),
        (["--minutes", "1e300"], "--minutes must be above 0"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    for name in ("text", "text.jsonl.gz"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "empty.jsonl").touch()
    before = {path.name for path in tmp_path.iterdir()}
    found = CliRunner().invoke(main, ["--scale", "smoke", "--out", "out", "--study", "datasets", *words])
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr.startswith("error: ")
    assert found.stderr.count("\n") == 1
    assert sentence in found.stderr
    assert not list(tmp_path.glob("out/*"))
    assert {path.name for path in tmp_path.iterdir()} - {"out"} == before


def test_missing_cells_are_told_on_the_picture(tmp_path, monkeypatch):
    taken = taken_of("activations", lambda place, cell: None if place < 3 else made(cell, spread(100)))
    text = missing_text(taken)
    assert text == f"3 of {len(taken.results) + 3} cells have no result."
    assert missing_text(taken_of("activations")) == ""
    told = []
    monkeypatch.setattr(program.style, "note", lambda _, text: told.append(text))
    study = study_of("activations")
    assert program.render(study, taken, study.table(taken), tmp_path)
    assert told == [text]


def test_times_of_pieces_add_up(tmp_path):
    path = tmp_path / "times.json"
    note_time(path, "labels", {"wall_s": 10.0, "processor_s": 8.0, "probes": 5})
    note_time(path, "labels", {"wall_s": 2.5, "processor_s": 2.0, "probes": 1})
    known = json.loads(path.read_text())
    assert known["studies"] == {"labels": {"wall_s": 12.5, "processor_s": 10.0, "probes": 6}}
    assert {"processor", "cores", "python", "torch", "emc"} <= set(known["machine"])


@pytest.mark.skipif(not Path("/proc").exists(), reason="running children are found in /proc")
def test_processor_seconds_are_those_of_workers_too():
    """Workers are forked by a server that runs on; those that it waited for count through it."""
    work = "t = time.process_time(); [0 for _ in iter(lambda: time.process_time() - t < 0.3, False)]"
    serve = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', 'import time; {work}'])"
    before, own = program.processor_seconds(), time.process_time()
    with subprocess.Popen(
        [sys.executable, "-c", f"{serve}; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        server.stdout.readline()  # the worker has ended, the server runs
        taken = program.processor_seconds() - before - (time.process_time() - own)
    assert taken > 0.25


def test_the_page_tells_command_machine_and_times():
    times = {
        "machine": {"cores": 2, "gpu": None},
        "studies": {"labels": {"wall_s": 1.2, "processor_s": 1, "probes": 7}},
    }
    text = page(SCALES["cpu"], {"labels": {"title": "What?", "caption": "This."}}, times)
    assert "make figures SCALE=cpu" in text
    assert "cores 2." in text
    assert "| labels | 1 | 1 | 7 |" in text
    assert "## What?\n\n![labels](labels.png)\n\nThis." in text


@pytest.mark.slow
def test_the_smoke_scale_runs_whole(tmp_path):
    found = run("--scale", "smoke", "--out", str(tmp_path), "--device", "cpu")
    assert "interrupted" not in found.output
    # At so small a scale no search may end in what a picture needs; it is said.
    drawn = [name for name in STUDIES if f"{name}: nothing" not in found.output]
    assert set(STUDIES) - set(drawn) <= {"steps"}
    for name in drawn:
        for kind in ("png", "pdf", "csv"):
            assert (tmp_path / f"{name}.{kind}").stat().st_size > 0
    assert list(json.loads((tmp_path / "captions.json").read_text())) == drawn
