"""A user's training as a program: samples go in as a file, the last line of JSON it prints says what came of it.

The program is started without a shell, in a process group of its own, which ends with emc even where that is killed,
and is given

- `{data}`: path of an .npz file with `X` (n, *shape) float32 and `y` (n,) int64 class numbers from 0: exactly the n
  samples, in a folder that is removed afterwards;
- `{n}`, `{seed}`, `{classes}`, `{budget}`: whole numbers.

The last line of its output that is a JSON object says `{"correct": 123}`, or `{"predictions": [...]}` with n class
numbers or rows of scores, which are then counted here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from emc.errors import SpecError, TrainingError, UnknownNameError, did_you_mean, shown
from emc.training.answers import right_answers
from emc.training.failing import past_time
from emc.training.guards import Guard
from emc.training.opaque import Answer, Given

PLACEHOLDERS = ("data", "n", "seed", "classes", "budget")

#: Bytes of an output that are read from its end, and that are kept of a failed one.
MOST_READ, MOST_KEPT = 1 << 26, 1 << 20

#: Bytes that are hashed at once.
CHUNK = 1 << 20


@dataclass(frozen=True)
class Command:
    """A training that is a program.

    Attributes:
        words: of the command line, with their placeholders.
        folder: in which it runs.
    """

    words: tuple[str, ...]
    folder: str

    @classmethod
    def parse(cls, text: str) -> Command:
        """The command that a text means, in the folder at hand.

        Raises:
            SpecError, UnknownNameError: no such program, a placeholder that does not exist, or none for the data.
        """
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise SpecError(f'--command must be words as a shell reads them, got "{text}" ({error}); mend it') from None
        if not words:
            raise SpecError('--command must name a program, got nothing; write "python train.py --data {data}"')
        named = re.findall(r"\{([A-Za-z_]*)\}", text)
        for name in named:
            if name not in PLACEHOLDERS:
                raise UnknownNameError(f'--command has no placeholder "{{{name}}}"; {did_you_mean(name, PLACEHOLDERS)}')
        if "data" not in named:
            raise SpecError(f'--command must be given its samples, got "{text}"; write {{data}} where their file goes')
        if shutil.which(words[0]) is None:
            raise SpecError(f'--command must name a program that can be run, got "{words[0]}"; check its path')
        return cls(words, os.getcwd())

    @property
    def apart(self) -> bool:
        """It is a process of its own."""
        return True

    def content(self) -> str:
        """Digest of the words and of the files that they name, as far as there are such."""
        digest = hashlib.sha256(json.dumps(self.words).encode())
        for word in self.words:
            path = Path(self.folder, word.rpartition("=")[2])
            if path.is_file():
                with path.open("rb") as file:
                    while chunk := file.read(CHUNK):
                        digest.update(chunk)
        return digest.hexdigest()[:16]

    def start(self, given: Given) -> Program:
        """Write the samples and start the program.

        Raises:
            TrainingError: it cannot be started.
            OSError: the samples cannot be written.
        """
        return Program(self, given)


class Program:
    """One run of a command.

    Args:
        command: what runs.
        given: its samples.

    Raises:
        TrainingError: it cannot be started.
        OSError: the samples cannot be written.
    """

    def __init__(self, command: Command, given: Given) -> None:
        self._given, self._started = given, time.monotonic()
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="emc-", ignore_cleanup_errors=True))
            data = os.path.join(folder, "samples.npz")
            np.savez(data, X=given.X, y=given.y)
            self._words = _filled(command, given, data)
            self._output: IO[bytes] = stack.enter_context(open(os.path.join(folder, "stdout"), "w+b"))
            self._errors: IO[bytes] = stack.enter_context(open(os.path.join(folder, "stderr"), "w+b"))
            self._guard = Guard(folder)
            stack.callback(self._guard.stop)
            self._process = self._start(command)
            self._guard.watch(self._process.pid)
            self._stack = stack.pop_all()

    def _start(self, command: Command) -> subprocess.Popen[bytes]:
        threads = {"OMP_NUM_THREADS": str(self._given.care.threads)}
        try:
            return subprocess.Popen(
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._errors,
                cwd=command.folder,
                env=threads | dict(os.environ),
                start_new_session=True,
            )
        except OSError as error:
            raise TrainingError(
                f'the program of --command must start, got "{self._words[0]}" in {command.folder} '
                f"({(error.strerror or str(error)).lower()}); check its path"
            ) from error

    def poll(self) -> Answer | None:
        """What it said, once it has ended; None before.

        Raises:
            TrainingError: it took too long, failed, or said something else than it must.
        """
        seconds, limit_s = time.monotonic() - self._started, self._given.care.timeout_s
        if _has_ended(self._process.pid):
            self._kill()  # what it left behind, while its number still is its own
            self._guard.stop()
            code = self._process.wait()
        elif limit_s is not None and seconds > limit_s:
            self._kill()
            raise self._failed(past_time(self._given.probe, seconds, limit_s), "raise it")
        else:
            return None
        if code != 0:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise self._failed(f"the program of --command must end well, but it {how} at {self._place()}", "mend it")
        try:
            return self._answer()
        except _SaidError as error:
            text = f"the program of --command must print {error.rule}, got {error.received} at {self._place()}"
            raise self._failed(text, error.remedy) from None

    def _place(self) -> str:
        return f"n={self._given.probe.n} of replicate {self._given.probe.replicate}"

    def _answer(self) -> Answer:
        said = _last_object(_end_of(self._output, MOST_READ))
        n = len(self._given.y)
        if ("correct" in said) == ("predictions" in said):
            raise _SaidError('{"correct": 123} or {"predictions": [...]}', shown(sorted(said)) + " in its last JSON")
        if "predictions" in said:
            try:
                found = right_answers(said["predictions"], self._given.y, self._given.num_classes, "predictions")
            except TrainingError as error:
                received, _, remedy = str(error).partition("got ")[2].partition("; ")
                raise _SaidError("one finite prediction a sample", received, remedy) from None
            return Answer(found.right, {"counted_by": "emc, from the program's predictions", **found.detail()})
        correct = said["correct"]
        if isinstance(correct, bool) or not isinstance(correct, int) or not 0 <= correct <= n:
            raise _SaidError(f"a whole number of right answers from 0 to {n}", shown(correct))
        return Answer(correct, {"counted_by": "the program itself"})

    def _failed(self, text: str, remedy: str) -> TrainingError:
        """What a user is told, who finds the rest in a file."""
        kept = self._keep()
        last = _end_of(self._errors, MOST_KEPT).decode(errors="replace").strip().rpartition("\n")[2].strip()
        said = f' ("{last[-200:]}")' if last else ""
        return TrainingError(f"{text}{said}; {remedy}, its output is in {kept}")

    def _keep(self) -> Path:
        """Write down what it printed."""
        folder, probe = self._given.care.keep, self._given.probe
        name = f"n{probe.n}-replicate{probe.replicate}-attempt{probe.attempt}-{probe.key[:8]}.txt"
        parts = [
            shlex.join(self._words).encode(),
            b"\n\n--- printed to stdout ---\n",
            _end_of(self._output, MOST_KEPT),
            b"\n--- printed to stderr ---\n",
            _end_of(self._errors, MOST_KEPT),
        ]
        try:
            if folder is None:
                raise FileNotFoundError
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            path.write_bytes(b"".join(parts))
        except OSError:  # no journal, or on a machine that does not see its folder
            path = Path(tempfile.mkdtemp(prefix="emc-output-")) / name
            path.write_bytes(b"".join(parts))
        return path

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End it and all that it started, and remove its samples."""
        if self._process.returncode is None:
            self._kill()
            self._guard.stop()
            self._process.wait()
        self._stack.close()


class _SaidError(Exception):
    """What a program printed is no answer."""

    def __init__(self, rule: str, received: str, remedy: str = "mend it") -> None:
        super().__init__(rule, received)
        self.rule, self.received, self.remedy = rule, received, remedy


def _filled(command: Command, given: Given, data: str) -> list[str]:
    values = (data, given.probe.n, given.seed, given.num_classes, given.budget)
    known = {f"{{{name}}}": str(value) for name, value in zip(PLACEHOLDERS, values, strict=True)}
    pattern = re.compile("|".join(map(re.escape, known)))
    return [pattern.sub(lambda found: known[found[0]], word) for word in command.words]


def _has_ended(pid: int) -> bool:
    """Whether a child has ended; it is not reaped, so that its number stays its own."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_of(file: IO[bytes], most: int) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - most))
    return file.read()


def _last_object(output: bytes) -> dict[str, Any]:
    """The last line that is a JSON object."""
    lines = output.decode(errors="replace").splitlines()
    for line in reversed(lines):
        if line.strip().startswith("{"):
            with suppress(ValueError, RecursionError):
                found = json.loads(line)
                if isinstance(found, dict):
                    return found
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    raise _SaidError("a line of JSON", f'none, its last line is "{last[-200:]}"' if last else "nothing printed")
