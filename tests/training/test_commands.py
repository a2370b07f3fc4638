"""Trainings that are programs: what they are given, what they may say, and how they fail."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import emc
from emc.errors import EmcError, SpecError, TrainingError, UnknownNameError
from emc.specs import Probe
from emc.training.commands import Command
from emc.training.opaque import Care, Given

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A program of a few lines; the command that runs it."""
    monkeypatch.chdir(tmp_path)

    def write(lines: str) -> str:
        Path("train.py").write_text("import json, os, sys, time\n" + lines)
        return f"{sys.executable} -S train.py {{data}} {{n}} {{seed}} {{classes}} {{budget}}"

    return write


def given(tmp_path: Path, n: int = 6, timeout_s: float | None = None) -> Given:
    X = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    return Given(Probe("base", n, 3), X, np.arange(n) % 3, 3, 77, 99, None, Care(1, timeout_s, tmp_path / "kept"))


def run(command: str, given: Given) -> Any:
    program = Command.parse(command).start(given)
    try:
        while (answer := program.poll()) is None:
            time.sleep(0.01)
        return answer
    finally:
        program.stop()


def test_the_samples_and_numbers_are_handed_over_and_removed(write: Write, tmp_path: Path) -> None:
    lines = ["json.dump(sys.argv, open('seen', 'w'))", "open('copy.npz', 'wb').write(open(sys.argv[1], 'rb').read())"]
    command = write("\n".join([*lines, "print('{\"correct\": 4}')"]))
    answer = run(command, given(tmp_path))
    assert (answer.correct, answer.detail["counted_by"]) == (4, "the program itself")
    words = json.loads(Path("seen").read_text())
    assert words[2:] == ["6", "77", "3", "99"]
    assert not Path(words[1]).parent.exists()
    assert not (tmp_path / "kept").exists()
    with np.load("copy.npz") as arrays:
        np.testing.assert_array_equal(arrays["X"], given(tmp_path).X)
        assert (arrays["X"].dtype, arrays["y"].dtype) == (np.float32, np.int64)


@pytest.mark.parametrize(
    ("said", "correct"),
    [
        ('{"correct": 6}', 6),
        ('step 1\n{"loss": 2}\n{"correct": 5, "loss": 1}\nbye\n', 5),
        ('{"correct": 1}\n{"correct": 2}', 2),  # the last line counts
        ('{"predictions": [0, 1, 2, 0, 1, 1]}', 5),
        ('{"predictions": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 0], [0, 0, 1]]}', 5),
        ('{"correct": 3}\n{"correct": ', 3),
    ],
)
def test_the_last_line_of_json_counts(write: Write, tmp_path: Path, said: str, correct: int) -> None:
    assert run(write(f"print({said!r})"), given(tmp_path)).correct == correct


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", r"must print a line of JSON, got nothing printed at n=6 of replicate 3"),
        ("print('done')", r'must print a line of JSON, got none, its last line is "done" at n=6'),
        ('print(\'{"correct": 1} {"correct": 2}\')', r"must print a line of JSON, got none"),
        ("print('{\"right\": 1}')", r"must print \{\"correct\": 123\} or .*, got \['right'\] in its last JSON"),
        ('print(\'{"correct": 1, "predictions": []}\')', r"got \['correct', 'predictions'\]"),
        ("print('{\"correct\": 7}')", r"must print a whole number of right answers from 0 to 6, got 7"),
        ("print('{\"correct\": -1}')", r"from 0 to 6, got -1"),
        ("print('{\"correct\": NaN}')", r"from 0 to 6, got nan"),
        ("print('{\"correct\": 5.0}')", r"from 0 to 6, got 5.0"),
        ("print('{\"correct\": true}')", r"from 0 to 6, got True"),
        ("print('{\"predictions\": [1, 2]}')", r"must print one finite prediction a sample, got int64 of shape \(2,\)"),
        ('print(\'{"predictions": "abc"}\')', r"must print one finite prediction a sample, got <U3 of shape \(\)"),
        ("sys.exit(3)", r"must end well, but it ended with exit code 3 at n=6 of replicate 3; mend it, its output"),
        ("os.kill(os.getpid(), 9)", r"must end well, but it was ended by SIGKILL"),
        ("print('so far')\n1 / 0", r'exit code 1 at n=6 of replicate 3 \("ZeroDivisionError: division by zero"\)'),
    ],
)
def test_anything_else_fails_with_its_output_kept(write: Write, tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        run(write(lines), given(tmp_path))
    kept = Path(str(caught.value).rpartition(" is in ")[2])
    assert kept.parent == tmp_path / "kept"
    text = kept.read_text()
    assert "train.py" in text
    assert "--- printed to stderr ---" in text
    assert ("so far" in text) == ("so far" in lines)


def test_one_that_hangs_is_ended_with_its_children(write: Write, tmp_path: Path) -> None:
    command = write("import subprocess\n"
                    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
                    "open('pid', 'w').write(str(child.pid)); time.sleep(600)")  # fmt: skip
    with pytest.raises(TrainingError, match=r"^a training must end within --probe-timeout 2 s, got n=6 .*; raise it"):
        run(command, given(tmp_path, timeout_s=2))
    assert has_gone(int(Path("pid").read_text()))


def test_what_a_program_leaves_behind_is_ended(write: Write, tmp_path: Path) -> None:
    command = write("import subprocess\n"
                    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
                    "open('pid', 'w').write(str(child.pid)); print('{\"correct\": 0}')")  # fmt: skip
    assert run(command, given(tmp_path)).correct == 0
    assert has_gone(int(Path("pid").read_text()))


def has_gone(pid: int) -> bool:
    """Whether a process ends within seconds; one that nobody waits for may stay as a zombie."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", SpecError, r"^--command must name a program, got nothing"),
        ("python 'train.py {data}", SpecError, r"^--command must be words as a shell reads them, got .*quotation"),
        ("python train.py", SpecError, r"^--command must be given its samples, got .*; write \{data\} where"),
        ("python train.py {data} {sed}", UnknownNameError, r'no placeholder "\{sed\}"; did you mean "seed"\?'),
        ("pythn train.py {data}", SpecError, r'must name a program that can be run, got "pythn"; check its path'),
        ("./missing {data}", SpecError, r'must name a program that can be run, got "./missing"'),
    ],
)
def test_mistakes(text: str, error: type[EmcError], message: str) -> None:
    with pytest.raises(error, match=message):
        Command.parse(text)


def test_a_program_that_went_away_is_told(write: Write, tmp_path: Path) -> None:
    command = Command.parse(write(""))
    gone = Command(("./gone", "{data}"), command.folder)
    with pytest.raises(TrainingError, match=r'must start, got "./gone" in .*no such file or directory'):
        gone.start(given(tmp_path))


def test_no_shell_reads_the_command(write: Write, tmp_path: Path) -> None:
    command = write("print(json.dumps({'correct': len(sys.argv)}))")
    assert run(f"{command} '$HOME;' | cat > {{n}}", given(tmp_path, n=20)).correct == 6 + 5


def test_it_is_known_by_its_words_and_the_files_that_they_name(write: Write) -> None:
    command = write("")
    first = Command.parse(command).content()
    assert first == Command.parse(command).content()
    assert first != Command.parse(command + " --more").content()
    write("\n")
    assert Command.parse(command).content() != first
    Path("conf").write_text("a")
    named = Command.parse(command + " --config=conf").content()
    Path("conf").write_text("b")
    assert Command.parse(command + " --config=conf").content() != named


COUNTING = """
import numpy as np
n = int(sys.argv[2])
with np.load(sys.argv[1]) as arrays:
    assert arrays["X"].shape == (n, 1, 8, 8) and arrays["y"].shape == (n,)
print(json.dumps({"correct": min(n, 20)}))
"""


def test_a_program_that_memorises_twenty_has_an_emc_of_twenty(write: Write, tmp_path: Path) -> None:
    command = write(COUNTING).replace(" -S", "")
    settings = {"labels": "random", "replicates": 1, "n_start": 19, "n_max": 22, "tolerance": 0.0}
    found = emc.measure(command=command, journal=tmp_path / "j", **settings)
    assert (found.emc, found.upper) == (20, 21)
    assert found.deciding_evidence == {"own_stop": 1}
    Path("train.py").write_text(Path("train.py").read_text())  # the same content: nothing is trained again
    again = emc.measure(command=command, journal=tmp_path / "j", **settings)
    assert again.probes == found.probes


def test_a_failure_is_kept_beside_the_journal(write: Write, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"exit code 1") as caught:
        emc.measure(command=write("sys.exit(1)"), journal=tmp_path / "j")
    assert f"is in {tmp_path}/j.d/failed/n16-replicate" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "linear"}, r"^--command is the whole training, which emc cannot set, got --model linear too"),
        ({"min_steps": 5}, r"got --min-steps 5 too; leave it out"),
        ({"train": "a.py:f"}, r"^a training is one, got --train a.py:f and --command"),
        ({"test_split": 0.2}, r"^--command is given no held-out samples"),
    ],
)
def test_settings_that_mean_nothing_to_it_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        emc.measure(command="python train.py {data}", **settings)


def test_a_budget_that_is_handed_over_may_be_set(write: Write) -> None:
    command = write("print(json.dumps({'correct': 0, 'budget': open('seen', 'a').write(sys.argv[5] + ' ')}))")
    emc.measure(command=command, min_steps=7, max_epochs=1, replicates=1, n_start=1, n_max=1)
    assert Path("seen").read_text() == "7 "


def test_a_crash_fails_its_own_cell_alone(write: Write, tmp_path: Path) -> None:
    good = write("print('{\"correct\": 0}')")
    Path("bad.py").write_text("raise SystemExit(2)")
    bad = good.replace("train.py", "bad.py")
    grid = {"base": {"n_max": 1, "n_start": 1, "replicates": 1}, "grid": {"command": [good, bad]}}
    found = emc.sweep(grid, journal=tmp_path / "j")
    assert list(found.results) == [1]
    assert "exit code 2" in str(found.failures[2])
