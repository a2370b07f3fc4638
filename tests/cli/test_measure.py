from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from emc import texts
from emc.results import EmcResult

Run = Callable[..., Result]
Mistake = Callable[..., str]
MakeResult = Callable[..., EmcResult]


def _table(result: EmcResult, verbose: bool = False) -> str:
    return texts.plain_table(texts.table_rows(result, verbose)) + "\n"


def test_the_table_is_on_stdout_and_the_view_on_stderr(run: Run, fake_api: Any) -> None:
    outcome = run("measure")
    assert outcome.exit_code == 0
    assert outcome.stdout == _table(fake_api.result)
    assert outcome.stderr.startswith("1 s: 3 probes")


def test_quiet_has_no_view(run: Run, fake_api: Any) -> None:
    outcome = run("measure", "--quiet")
    assert outcome.stderr == ""
    assert outcome.stdout == _table(fake_api.result)
    assert fake_api.observers == [None]


def test_json_and_plot_are_written_whole_and_alone(run: Run, fake_api: Any, tmp_path: Path) -> None:
    assert run("measure", "--json", "r.json", "--plot", "r.png").exit_code == 0
    assert sorted(os.listdir(tmp_path)) == ["r.json", "r.png"]
    assert texts.read_result("r.json") == fake_api.result
    with Image.open("r.png") as picture:
        picture.load()


def test_json_to_stdout_is_alone_there(run: Run, fake_api: Any) -> None:
    outcome = run("measure", "--json", "-")
    assert EmcResult.from_dict(json.loads(outcome.stdout)) == fake_api.result
    assert outcome.stderr.endswith(_table(fake_api.result))


def test_verbose_says_what_was_picked(run: Run, fake_api: Any) -> None:
    outcome = run("measure", "-v")
    assert outcome.stdout == _table(fake_api.result, verbose=True)
    assert "device cpu, trainer lockstep" in outcome.stdout
    assert outcome.stderr.startswith("1,210 parameters; up to 60 probes and 1,200,000 steps\n")


def test_dry_run_trains_and_writes_nothing(run: Run, fake_api: Any, tmp_path: Path) -> None:
    outcome = run("measure", "--dry-run", "--json", "r.json", "--plot", "r.png")
    assert outcome.exit_code == 0
    assert "parameters   1,210 trained, 1,210 stored, 38,720 bits" in outcome.stdout
    assert "[procedure]" in outcome.stdout
    assert not fake_api.observers
    assert os.listdir(tmp_path) == []


def test_dry_run_as_json(run: Run, fake_api: Any) -> None:
    plan = json.loads(run("measure", "--dry-run", "--json", "-").stdout)
    assert plan["fingerprint"] == fake_api.result.fingerprint
    assert plan["rough_cost"]["steps"] == 1.2e6


@pytest.mark.parametrize(
    ("journal", "remedy"), [("j.jsonl", "the same command continues"), ("none", "name a --journal")]
)
def test_an_interrupted_measurement(
    run: Run, fake_api: Any, make_result: MakeResult, journal: str, remedy: str
) -> None:
    fake_api.result = make_result("interrupted")
    outcome = run("measure", "--journal", journal, "--json", "r.json")
    assert outcome.exit_code == 130
    assert outcome.stdout == _table(fake_api.result)
    assert f"interrupted: {remedy}" in outcome.stderr
    assert texts.read_result("r.json") == fake_api.result


def test_an_interrupted_measurement_without_replicates(run: Run, fake_api: Any, make_result: MakeResult) -> None:
    fake_api.result = replace(make_result("interrupted"), replicates=())
    outcome = run("measure", "--journal", "j.jsonl")
    assert outcome.exit_code == 130
    assert "interrupted: the same command continues" in outcome.stderr


@pytest.mark.parametrize("kind", ["bracketed", "undertrained", "non_monotone", "censored", "diverged", "interrupted"])
@pytest.mark.parametrize("replicates", [1, 6])
def test_show_prints_the_same_table(
    run: Run, fake_api: Any, make_result: MakeResult, kind: str, replicates: int
) -> None:
    fake_api.result = make_result(kind, replicates)
    measured = run("measure", "--json", "r.json")
    assert run("show", "r.json").stdout == measured.stdout


@pytest.mark.parametrize("flag", ["-v", "--probes"])
def test_show_lists_failing_probes(run: Run, fake_api: Any, flag: str) -> None:
    table = run("measure", "--json", "r.json").stdout
    assert run("show", "r.json", flag).stdout == table + "\n" + texts.probes_text(fake_api.result) + "\n"


def test_the_data_root_reaches_the_sources(run: Run, fake_api: Any, tmp_path: Path) -> None:
    from emc.data.cache import data_root

    (tmp_path / "pool").mkdir()
    assert run("measure", "--data-root", "pool").exit_code == 0
    assert data_root() == tmp_path / "pool"
    assert fake_api.calls


@pytest.mark.parametrize("option", ["--json", "--plot"])
@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("absent/r.png", 'an output file needs an existing folder, got "absent/r.png"; create'),
        ("folder.png", 'an output path names a file, got the folder "folder.png"; add a file name'),
        ("/proc/r.png", 'an output file must be writable, got "/proc/r.png"'),
    ],
)
def test_outputs_are_refused_before_the_training(
    mistake: Mistake, fake_api: Any, tmp_path: Path, option: str, path: str, sentence: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    assert mistake("measure", option, path).startswith(sentence)
    assert not fake_api.calls
    assert os.listdir(tmp_path) == ["folder.png"]


def test_a_picture_of_an_unknown_kind_is_refused(mistake: Mistake, fake_api: Any) -> None:
    sentence = mistake("measure", "--plot", "r.jpg")
    assert sentence == 'a picture ends in one of .png, .pdf, .svg, got "r.jpg"; change its suffix'
    assert not fake_api.calls


def test_a_disk_that_fills_up_still_shows_the_table(
    run: Run, fake_api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r.json").write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    outcome = run("measure", "--quiet", "--json", "r.json")
    assert outcome.exit_code == 2
    assert outcome.stdout == _table(fake_api.result)
    assert outcome.stderr == (
        'error: an output file must be writable, got "r.json" (no space left on device); choose another path\n'
    )
    assert os.listdir(tmp_path) == ["r.json"]
    assert (tmp_path / "r.json").read_text() == "old"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, 'a result file must exist, got "r.json"; write one with emc measure --json PATH'),
        ("{", 'a result file must be JSON, got "r.json" ('),
        ("[]", 'a result file must hold an EMC result, got "r.json" ('),
        ('{"emc": 3}', 'a result file must hold an EMC result, got "r.json" (no '),
    ],
)
def test_show_refuses_what_is_no_result(mistake: Mistake, tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "r.json").write_text(content)
    assert mistake("show", "r.json").startswith(sentence)


def test_show_refuses_a_folder(mistake: Mistake) -> None:
    assert mistake("show", ".") == 'a result file must be readable, got "." (is a directory); name a file'


def test_a_non_finite_loss_is_no_half_written_file(run: Run, fake_api: Any, tmp_path: Path) -> None:
    probe = replace(fake_api.result.probes[0], loss=float("nan"))
    fake_api.result = replace(fake_api.result, probes=(probe, *fake_api.result.probes[1:]))
    assert run("measure", "--json", "r.json").exit_code == 1
    assert os.listdir(tmp_path) == []


def test_a_dry_run_says_that_tuning_comes_first(run: Run, tmp_path: Path) -> None:
    words = ("measure", "--data", "gaussian:dim=3,size=40", "--optimizer", "sgd:lr=auto", "--dry-run")
    plan = run(*words).stdout
    assert "# tuning       comes first, by" in plan
    assert '\ntune = "halving:rates=5,' in plan
    (tmp_path / "plan.toml").write_text(plan)
    assert run("measure", "--config", "plan.toml", "--dry-run").stdout == plan
    assert "tuning" not in run(*words[:3], "--dry-run").stdout


def test_verbose_says_that_tuning_comes_first(run: Run, fake_api: Any) -> None:
    assert "1,200,000 steps, after tuning by halving\n" in run("measure", "-v", "--tune").stderr
    assert fake_api.calls


def test_an_interruption_while_tuning_is_told(
    run: Run, fake_api: Any, make_result: MakeResult, tuning: dict[str, Any]
) -> None:
    fake_api.result = make_result("interrupted", tuning={**tuning, "chosen": None, "trials": []})
    outcome = run("measure", "-q", "--tune")
    assert outcome.exit_code == 130
    assert outcome.stderr == "interrupted while tuning: the same command continues\n"
    assert "interrupted before the choice; nothing was measured" in outcome.stdout


@pytest.mark.parametrize("command", ["measure", "curve", "estimate"])
@pytest.mark.parametrize(
    "words",
    [
        ("--journal", "in.png"),
        ("--config", "in.png"),
        ("--data", "csv:path=in.png,target=y"),
        ("--model", "in.png.py:make"),
        ("--command", "python in.png {data} {n} {seed}"),
    ],
    ids=lambda words: words[0],
)
def test_an_output_is_no_input(
    mistake: Mistake, fake_api: Any, tmp_path: Path, command: str, words: tuple[str, str]
) -> None:
    (tmp_path / "in.png").write_text("")
    (tmp_path / "in.png.py").symlink_to("in.png")
    for option in ("--json", "--plot")[: 1 if command == "estimate" else 2]:
        assert "no other file of the command" in mistake(command, *words, option, "./in.png")
    assert (tmp_path / "in.png").read_text() == ""
    assert not fake_api.calls


def test_two_outputs_are_two_files(mistake: Mistake, fake_api: Any) -> None:
    assert "no other file of the command" in mistake("measure", "--json", "q.png", "--plot", "q.png")
    assert not fake_api.calls
