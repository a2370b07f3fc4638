from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]

FILE = """
[base]
labels = "random"
min_steps = 60
max_epochs = 1
check_steps = 20
n_max = 40
replicates = 1
optimizer = "adam:lr=0.02"
[grid]
"model.width" = [2, 3]
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        (tmp_path / "s.toml").write_text(text)
        return "s.toml"

    return write


def test_a_sweep_prints_its_cells_and_the_same_command_trains_nothing_more(
    run: Run, write: Callable[[str], str], tmp_path: Path
) -> None:
    file = write(FILE)
    outcome = run("sweep", file)
    assert outcome.exit_code == 0, outcome.output
    head, *rows = outcome.stdout.splitlines()[:3]
    assert head.split()[:4] == ["cell", "model.width", "state", "parameters"]
    assert [row.split()[:2] for row in rows] == [["1", "2"], ["2", "3"]]
    assert (tmp_path / ".emc" / "journal.jsonl").exists()
    assert "trained    0 probes" in run("sweep", file).stdout


def test_a_dry_run_says_what_is_there_and_what_is_left_and_writes_nothing(
    run: Run, write: Callable[[str], str], tmp_path: Path
) -> None:
    file = write(FILE)
    outcome = run("sweep", file, "--dry-run")
    assert outcome.exit_code == 0, outcome.output
    assert "2 cells: 2 new (journal .emc/journal.jsonl)" in outcome.stdout
    assert "time not known" in outcome.stdout
    assert not (tmp_path / ".emc").exists()
    run("sweep", file, "--cells", "1")
    outcome = run("sweep", file, "--dry-run")
    assert "2 cells: 1 done, 1 new" in outcome.stdout
    run("sweep", file)
    assert "left: nothing" in run("sweep", file, "--dry-run").stdout
    plan = json.loads(run("sweep", file, "--dry-run", "--json", "-").stdout)
    assert [cell["state"] for cell in plan["cells"]] == ["done", "done"]


def test_the_summary_is_written_and_stdout_is_its_alone(run: Run, write: Callable[[str], str]) -> None:
    outcome = run("sweep", write(FILE), "--json", "-", "--journal", "none")
    record = json.loads(outcome.stdout)
    assert [cell["settings"]["model.width"] for cell in record["cells"]] == [2, 3]
    assert "cell  model.width" in outcome.stderr


def test_failed_cells_are_named_and_the_exit_code_tells(run: Run, write: Callable[[str], str]) -> None:
    outcome = run("sweep", write(FILE + "n_start = [4, 9000]\n"), "--journal", "none")
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith("error: 2 of 4 cells failed (2,4); the first, cell 2: n_max must be at least")
    assert " done" in outcome.stdout or " censored" in outcome.stdout


def test_an_interruption_prints_the_command_to_continue(
    run: Run, write: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emc.session.Engine.run", lambda *_, **__: True)
    outcome = run("sweep", write(FILE), "--stack", "4", "--fresh")
    assert outcome.exit_code == 130
    assert "continue with: emc sweep s.toml --stack 4\n" in outcome.stderr
    outcome = run("sweep", "s.toml", "--journal", "none")
    assert "name a --journal" in outcome.stderr


def test_ctrl_c_while_preparing_prints_it_too(
    run: Run, write: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("emc.sweeping.prepare_cells", interrupted)
    outcome = run("sweep", write(FILE))
    assert outcome.exit_code == 130
    assert "continue with: emc sweep s.toml" in outcome.stderr


def test_execution_settings_are_options_and_others_are_not(
    run: Run, write: Callable[[str], str], mistake: Callable[..., str]
) -> None:
    assert "--device" in run("sweep", "--help").stdout
    assert "--min-steps" not in run("sweep", "--help").stdout
    assert 'no option "--seed"' in mistake("sweep", write(FILE), "--seed", "3")


@pytest.mark.parametrize(
    ("text", "words", "sentence"),
    [
        ("", [], "at least one axis"),
        (FILE, ["--cells", "3"], "--cells must lie between 1 and 2"),
        (FILE, ["--cells", "x"], "write 3,7-9"),
        (FILE, ["--json", "no/where.json"], "existing folder"),
        (FILE.replace("model.width", "model.widht"), [], 'no option "widht"'),
        (FILE + 'device = ["cpu"]', [], "under [execution]"),
    ],
)
def test_mistakes_are_one_sentence(
    mistake: Callable[..., str], write: Callable[[str], str], text: str, words: list[str], sentence: str
) -> None:
    assert sentence in mistake("sweep", write(text), *words)


@pytest.mark.parametrize("output", ["s.toml", "j.jsonl", "t.csv", "u.csv"])
def test_no_input_is_replaced(
    mistake: Callable[..., str], write: Callable[[str], str], tmp_path: Path, output: str
) -> None:
    for name in ("t.csv", "u.csv"):
        (tmp_path / name).write_text("kept")
    data = '"data.path" = ["t.csv", "u.csv"]\n'
    text = write(FILE.replace("[base]", '[base]\ndata = "csv:target=y"') + data)
    assert "no other file of the command" in mistake("sweep", text, "--journal", "j.jsonl", "--json", output)


def test_a_file_that_is_not_there_is_told(mistake: Callable[..., str]) -> None:
    assert "must exist" in mistake("sweep", "none.toml")
