"""What Ctrl-C and SIGTERM do to a run: once, twice, in a thread, and to a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from emc.journal import read
from emc.stopping import no_interrupt, stoppable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_asks(number: signal.Signals, caplog: pytest.LogCaptureFixture) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stoppable() as stopping:
        assert not stopping()
        os.kill(os.getpid(), number)
        assert stopping()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert caplog.messages == [f"stopping ({number.name}); Ctrl-C once more stops at once"]


def test_a_second_ctrl_c_interrupts_wherever_the_run_is() -> None:
    with stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            signal.raise_signal(signal.SIGINT)


def test_a_second_sigterm_asks_no_more_than_the_first() -> None:
    with stoppable() as stopping:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopping()


def test_a_run_of_several_drives_stops_as_a_whole() -> None:
    with stoppable() as stopping:
        with stoppable() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
            assert inner()
        assert stopping()
        with stoppable() as later:
            assert later()
    with stoppable() as stopping:
        assert not stopping()


def test_in_a_thread_nobody_asks() -> None:
    found: list[bool] = []

    def run() -> None:
        with stoppable() as stopping:
            found.append(stopping())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [False]


COMMAND = [
    *(sys.executable, "-m", "emc", "measure", "--quiet", "--model", "mlp:width=8", "--data", "digits"),
    *("--labels", "random", "--replicates", "2", "--min-steps", "100000", "--journal", "journal.jsonl"),
]


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_a_real_process_stops_and_the_first_time_shows_what_it_knows_and_how_to_go_on(
    signals: list[signal.Signals], tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--json", "result.json"], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    journal = tmp_path / "journal.jsonl"
    while process.poll() is None and not (journal.exists() and list(read(journal, "probe"))):
        time.sleep(0.05)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.02)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT if len(signals) > 1 else 130)
    assert "Traceback" not in err
    assert f"stopping ({signals[0].name})" in err
    assert list(read(journal, "probe"))
    if len(signals) > 1:  # wherever it was just then
        return
    assert "the same command continues" in err
    assert "interrupted: the search was stopped early" in " ".join(out.split())
    record = json.loads((tmp_path / "result.json").read_text())
    assert {probe["key"] for probe in record["probes"]} <= {line["key"] for line in read(journal, "probe")}


@pytest.mark.parametrize("others", [0, 1])
def test_ctrl_c_waits_for_the_end_of_what_it_must_not_tear(others: int) -> None:
    """Also where another thread is the one that is sent the signal."""
    done: list[int] = []
    over = threading.Event()
    threads = [threading.Thread(target=over.wait) for _ in range(others)]
    for thread in threads:
        thread.start()
    try:
        with pytest.raises(KeyboardInterrupt, match=r"^$"), no_interrupt():
            _interrupt_and(done)
    finally:
        over.set()
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _interrupt_and(done: list[int]) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    done.append(1)


def test_what_starts_without_interrupt_never_sees_one() -> None:
    with no_interrupt():
        process = subprocess.Popen([sys.executable, "-Sc", "input()"], stdin=subprocess.PIPE)
    process.send_signal(signal.SIGINT)
    process.communicate(b"end\n")
    assert process.returncode == 0


def test_another_thread_may_start_without_interrupt_too() -> None:
    masks: list[bool] = []

    def start() -> None:
        with no_interrupt():
            masks.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert masks == [True]
