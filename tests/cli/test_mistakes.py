"""Mistakes at the real command line: one sentence with the value received and a remedy, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result

Run = Callable[..., Result]
Mistake = Callable[..., str]

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")

#: So small that what is not refused ends at once.
SMALL = ["--data", "wine", "--n-max", "4", "--min-steps", "1", "--max-epochs", "1", "--replicates", "1"]

TABLE = "width,height,kind\n" + "".join(f"{i % 7},{i % 5},{'ab'[i % 2]}\n" for i in range(40))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a user may have lying around."""
    files = {
        "file": "mine",
        "table.csv": TABLE,
        "empty.csv": "",
        "header.csv": "width,kind\n",
        "one.csv": "width,kind\n1,a\n2,a\n3,a\n",
        "ragged.csv": "width,kind\n1,a\n2,b,3\n",
        "typo.toml": "repliactes = 3\n",
        "part.toml": "[procedure]\nlabels = 'random'\n",
        "type.toml": "replicates = 'six'\n",
        "broken.toml": "replicates = \n",
        "broken.json": "{",
        "other.json": "{}",
        "newer.jsonl": '{"schema": 3}\n',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    X, y = np.arange(24.0).reshape(12, 2), np.arange(12) % 2
    bad = np.where(X == 4, np.nan, X)
    np.savez(tmp_path / "nan.npz", X=bad, y=y)
    np.savez(tmp_path / "one.npz", X=X, y=np.zeros(12))
    np.savez(tmp_path / "names.npz", inputs=X, labels=y)
    (tmp_path / "images").mkdir()
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def measure(*words: str) -> list[str]:
    return ["measure", "--quiet", *words]


MISTAKES: list[tuple[list[str], str, str]] = [
    (["mesure"], '"mesure"', 'did you mean "measure"?'),
    (["list", "modles"], '"modles"', 'did you mean "models"?'),
    (["show"], "'RESULT'", "see emc show --help"),
    (["show", "absent.json"], '"absent.json"', "write one with emc measure --json"),
    (["show", "broken.json"], '"broken.json"', "name a file written by emc measure --json"),
    (["show", "other.json"], '"other.json"', "name a file written by emc measure --json"),
    (["show", "table.csv"], '"table.csv"', "name a file written by emc measure --json"),
    (["show", "images"], '"images"', "name a file"),
    (measure("--modle", "mlp"), '"--modle"', 'did you mean "--model"?'),
    (measure("--model"), "'--model'", "see emc"),
    (measure("mlp"), "mlp", "see emc measure --help"),
    (measure("--model", "mpl"), '"mpl"', 'did you mean "mlp"?'),
    (measure("--model", ""), '""', "name:key=value"),
    (measure("--model", "mlp:"), '"mlp:"', "name:key=value"),
    (measure("--model", "mlp:16"), '"16"', "write mlp:key=value"),
    (measure("--model", "mlp:widht=16"), '"widht"', 'did you mean "width"?'),
    (measure("--model", "mlp:width=wide"), '"wide"', "takes width as int"),
    (measure("--model", "mlp:width=0"), "0", "at least 1"),
    (measure("--model", "mlp:width=8,width=9"), '"width" twice', "keep one of them"),
    (measure("--data", "digit"), '"digit"', 'did you mean "digits"?'),
    (measure("--data", "gaussian:dim=0"), "0", "dim of at least 1"),
    (measure("--data", "csv"), "path", "write csv:path=..."),
    (measure("--optimizer", "adamm"), '"adamm"', 'did you mean "adam"?'),
    (measure("--optimizer", "adam:lr=-1"), "-1", "lr"),
    (measure("--optimizer", "adam:lr=nan"), '"nan"', "takes lr as float"),
    (measure("--labels", "randm"), '"randm"', 'did you mean "random"?'),
    (measure("--labels", "noise:p=2"), "2", "p between 0 and 1"),
    (measure("--inputs", "gausian"), '"gausian"', 'did you mean "gaussian"?'),
    (measure("--activation", "rlu"), '"rlu"', 'did you mean "relu"?'),
    (measure("--activation", "tanh", "--model", "linear"), "tanh", "leave it out"),
    (measure("--schedule", "cosin"), '"cosin"', 'did you mean "cosine"?'),
    (measure("--schedule", "reactive:factor=2"), "factor=2", "factor, floor and gain between 0 and 1"),
    (measure("--growth", "linaer"), '"linaer"', 'did you mean "linear"?'),
    (measure("--growth", "geometric:factor=1"), "1.0", "a factor above 1"),
    (measure("--growth", "linear:step=0"), "0", "a step of at least 1"),
    (measure("--replicates", "six"), "'six'", "a whole number"),
    (measure("--replicates", "2.5"), "2.5", "a whole number"),
    (measure("--replicates", "0"), "0", "at least 1"),
    (measure("--seed", "-1"), "-1", "at least 0"),
    (measure("--batch-size", "1"), "1", "at least 2"),
    (measure("--tolerance", "nan"), "'nan'", "a number"),
    (measure("--confidence", "95"), "95", "between 0.5 and 0.9999"),
    (measure("--precision", "float16"), '"float16"', "float32, float64"),
    (measure("--duplicates", "dorp"), '"dorp"', 'did you mean "drop"?'),
    (measure("--n-max", "10", "--n-start", "16"), "n_max=10, n_start=16", "raise --n-max"),
    (measure("--n-max", "5000"), "5000", "lower it or use a larger pool"),
    (measure("--classes", "11"), "--classes 11", "lower it"),
    (measure("--classes", "1"), "1", "at least 2"),
    (measure("--data", "csv:path=absent.csv,target=kind"), "absent.csv", "correct path"),
    (measure("--data", "csv:path=images,target=kind"), "images", "correct path"),
    (measure("--data", "csv:path=empty.csv,target=kind"), "empty.csv", "correct the file"),
    (measure("--data", "csv:path=header.csv,target=kind"), "header.csv", "check the file"),
    (measure("--data", "csv:path=ragged.csv,target=kind"), "ragged.csv", "correct the file"),
    (measure("--data", "csv:path=table.csv,target=Kind"), '"Kind"', 'did you mean "kind"?'),
    (measure("--data", "csv:path=table.csv,target=kind,drop=hight"), '"hight"', 'did you mean "height"?'),
    (measure("--data", "csv:path=one.csv,target=kind"), "got 1", "check the target"),
    (measure("--data", "npz:path=file"), "file", "use numpy.savez"),
    (measure("--data", "npz:path=nan.npz"), "1 NaN", "fill or drop them"),
    (measure("--data", "npz:path=one.npz"), "got 1", "check the target"),
    (measure("--data", "npz:path=names.npz"), '"X"', "inputs= and target= name the arrays"),
    (measure("--data", "folder:path=images"), "images", "class"),
    (measure("--data-root", "file"), "file", "name the folder that holds the datasets"),
    (measure("--config", "absent.toml"), '"absent.toml"', "check the path"),
    (measure("--config", "typo.toml"), '"repliactes"', 'did you mean "replicates"?'),
    (measure("--config", "part.toml"), '"labels"', "move it"),
    (measure("--config", "type.toml"), "'six'", "a whole number"),
    (measure("--config", "broken.toml"), "line 1", "mend that line"),
    (measure("--json", "absent/r.json"), '"absent/r.json"', "first"),
    (measure("--json", "file/r.json"), '"file/r.json"', "first"),
    (measure("--plot", "absent/r.png"), '"absent/r.png"', "first"),
    (measure("--plot", "r.jpg"), '"r.jpg"', "change its suffix"),
    (measure(*SMALL, "--journal", "file/journal.jsonl"), "file/journal.jsonl", "choose another with --journal"),
    (measure(*SMALL, "--journal", "images"), "images", "choose another with --journal"),
    (measure(*SMALL, "--journal", "/dev/full"), "/dev/full", "choose another with --journal"),
    (measure(*SMALL, "--journal", "newer.jsonl"), "schema 2 or older, got 3", "update emc"),
    (measure("--optimizer", "lbfgs", "--trainer", "compiled"), "--trainer compiled", "use auto"),
    (measure("--optimizer", "lbfgs", "--trainer", "lockstep"), "--trainer lockstep", "use single"),
    (measure("--optimizer", "lstsq"), "--loss cross_entropy", "write --loss squared"),
    (
        measure("--optimizer", "lstsq", "--loss", "squared"),
        "got 2 trainable layers",
        "use --model linear or random_feat",
    ),
    (measure("--optimizer", "lstsq:lr=1"), '"lr"', "has no option"),
    (measure("--optimizer", "lion:betas=0.9"), '"betas"', 'did you mean "beta'),
    (measure("--optimizer", "muon"), "got 2 in all", "use a deeper model, or muon:ends=true for all"),
    (measure("--optimizer", "sam:base=lbfgs"), "got lbfgs", "use adam or sgd"),
    (measure("--optimizer", "sam:base=adma"), '"adma"', 'did you mean "adam"?'),
    (measure("--optimizer", "sam:base=adam|lr=0.1"), "base=adam|lr=0.1", "write sam:lr=0.1,base=adam"),
    (measure("--optimizer", "lbfgs", "--clip-norm", "1"), "--optimizer lbfgs", "leave one of them out"),
    (measure("--optimizer", "lbfgs", "--augment", "flip"), "--optimizer lbfgs", "leave one of them out"),
    (measure("--augment", "flop"), '"flop"', 'did you mean "flip"?'),
    (measure("--augment", "flip", "--data", "wine"), "(13,)", "leave it out"),
    (measure("--clip-norm", "0"), "0", "at least 1e-12"),
    (measure("--label-smoothing", "1"), "1", "between 0 and 0.99"),
    (measure("--label-smoothing", "0.1", "--loss", "squared"), "--loss squared", "leave one of them out"),
    (measure("--schedule", "warmup:steps=5,share=0.1"), "steps=5", "leave one out"),
    (measure("--loss", "squard"), '"squard"', 'did you mean "squared"?'),
    (measure("--model", "random_features:dim=0"), "dim", "at least 1"),
    (measure("--criterion", "fitted"), '"fitted"', "write one of these"),
    (measure("--criterion", "error<=1.5"), "1.5", "write error<=0.1"),
    (measure("--criterion", "loss<=-1"), "-1", "write loss<=1e-6"),
    (measure("--criterion", "error<=0.1", "--attempts", "2"), "--attempts 2", "leave it out"),
    (measure("--criterion", "error<=0.1", "--search", "threshold"), "error<=0.1", "use --search bisection"),
    (measure("--criterion", "error<=0.1", "--optimizer", "sgd:lr=auto"), "error<=0.1", "then name the rate"),
    (measure("--test-split", "0.95"), "0.95", "between 0"),
    (measure("--trainer", "parallel"), '"parallel"', "auto, single, lockstep"),
    (measure("--threads", "0"), "0", "at least 1"),
]


@pytest.mark.parametrize(("words", "received", "remedy"), MISTAKES, ids=[" ".join(words) for words, _, _ in MISTAKES])
def test_a_mistake_gets_one_sentence_and_leaves_nothing(
    mistake: Mistake, folder: Path, words: list[str], received: str, remedy: str
) -> None:
    before = contents(folder)
    sentence = mistake(*words)
    assert received in sentence
    assert remedy in sentence
    assert "Traceback" not in sentence
    assert contents(folder) == before


@NO_GPU
def test_a_device_that_is_not_there(mistake: Mistake, folder: Path) -> None:
    before = contents(folder)
    sentence = mistake(*measure("--device", "cuda"))
    assert sentence == "--device cuda needs a CUDA device, but PyTorch sees none; use --device cpu"
    assert contents(folder) == before


def test_the_small_measurement_is_no_mistake(run: Run) -> None:
    outcome = run(*measure(*SMALL, "--journal", "none"))
    assert (outcome.exit_code, outcome.stderr) == (0, "")


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_a_device_without_space_still_shows_the_table(run: Run, folder: Path, option: str) -> None:
    full = "/dev/full"
    if option == "--plot":
        full = "full.png"
        os.symlink("/dev/full", folder / full)
    before = os.listdir(folder)
    outcome = run(*measure(*SMALL, option, full, "--journal", "none"))
    assert outcome.exit_code == 2
    assert outcome.stderr == (
        f'error: an output file must be writable, got "{full}" (no space left on device); choose another path\n'
    )
    assert outcome.stdout.startswith("EMC")
    assert os.listdir(folder) == before


def process(code: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *words], capture_output=True, text=True, check=False, cwd=cwd
    )


FULL_DISK = """
import resource, sys
import torch
from emc.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
main(prog_name="emc")
"""


def test_a_disk_that_fills_up_keeps_every_verdict_acknowledged(tmp_path: Path) -> None:
    words = measure(
        *SMALL, "--trainer", "single", "--replicates", "20", "--journal", "journal.jsonl", "--json", "r.json"
    )
    done = process(FULL_DISK, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: the journal journal.jsonl cannot be written: File too large; "
        "free the way or choose another with --journal\n"
    )
    assert done.stdout == ""
    assert set(os.listdir(tmp_path)) <= {"journal.jsonl", "journal.jsonl.d"}
    text = (tmp_path / "journal.jsonl").read_text()
    assert text.endswith("\n")
    records: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    keys = [entry["key"] for entry in records if entry["kind"] == "probe"]
    assert len(set(keys)) == len(keys) > 0


def test_a_mistake_in_a_real_process(tmp_path: Path) -> None:
    done = process("from emc.cli.main import main; main()", *measure("--model", "mpl"), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'error: there is no model "mpl"; did you mean "mlp"?\n'
    assert os.listdir(tmp_path) == []
