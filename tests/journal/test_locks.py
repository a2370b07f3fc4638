"""A claim holds among processes and among the journals of one, and never longer than its process lives."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from journals import hear, make, say, start

from emc.errors import JournalError
from emc.journal import Journal
from emc.journal.locks import Claims, check_mount, is_claimed

CLAIMER = """
import sys
from emc.journal import Journal

journal = Journal(sys.argv[1])
for line in sys.stdin:
    what, key = line.split()
    print(journal.claim(key) if what == "claim" else journal.release(key), flush=True)
"""


@pytest.fixture
def other(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with the same journal."""
    with start(CLAIMER, path) as process:
        yield process
        process.kill()


def asks(process: subprocess.Popen[str], words: str) -> str:
    say(process, words)
    return hear(process)


def test_one_process_claims_a_probe_at_a_time(path: Path, other: subprocess.Popen[str]) -> None:
    with Journal(path) as journal:
        assert journal.claim("a")
        assert asks(other, "claim a") == "False"
        assert asks(other, "claim b") == "True"
        assert not journal.claim("b")
        journal.release("a")
        assert asks(other, "claim a") == "True"
        assert not journal.claim("a")
        asks(other, "release a")
        assert journal.claim("a")


def test_a_killed_process_holds_nothing(path: Path, other: subprocess.Popen[str]) -> None:
    with Journal(path) as journal:
        assert asks(other, "claim a") == "True"
        assert not journal.claim("a")
        other.kill()
        other.wait()
        assert journal.claim("a")


def test_closing_frees_all_claims(path: Path, other: subprocess.Popen[str]) -> None:
    journal = Journal(path)
    assert journal.claim("a")
    assert journal.claim("b")
    assert asks(other, "claim a") == "False"
    journal.close()
    assert [asks(other, f"claim {key}") for key in "ab"] == ["True", "True"]


def test_two_journals_of_one_process_exclude_each_other(path: Path) -> None:
    with Journal(path) as one, Journal(path) as two:
        assert one.claim("a")
        assert one.claim("a"), "a claim may be made again by whoever has it"
        assert not two.claim("a")
        two.release("a")
        assert not two.claim("a"), "only who has it lets it go"
        one.release("a")
        assert two.claim("a")


def test_a_journal_that_closes_leaves_the_claims_of_another_in_the_process(
    path: Path, other: subprocess.Popen[str]
) -> None:
    with Journal(path) as one:
        assert one.claim("a")
        with Journal(path) as two:
            assert two.claim("b")
        assert is_claimed(path.with_name("journal.jsonl.d") / "claims", "a")
        assert [asks(other, f"claim {key}") for key in "ab"] == ["False", "True"]


def test_threads_never_both_hold_a_claim(path: Path) -> None:
    held: Counter[str] = Counter()
    wrong, taken = [], []
    barrier = threading.Barrier(4)

    def work() -> None:
        with Journal(path) as journal:
            barrier.wait()
            for turn in range(200):
                key = f"key-{turn % 3}"
                if journal.claim(key):
                    held[key] += 1
                    taken.append(key)
                    if held[key] != 1:
                        wrong.append(key)
                    held[key] -= 1
                    journal.release(key)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert taken


def test_keys_that_share_a_byte_cost_time_only(
    path: Path, other: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asks(other, "claim a") == "True"
    from emc.journal import locks

    byte = locks._byte_of("a")
    monkeypatch.setattr("emc.journal.locks._byte_of", lambda _key: byte)
    with Journal(path) as one, Journal(path) as two:
        assert not one.claim("b"), "the other process has the byte"
        asks(other, "release a")
        assert one.claim("b")
        assert one.claim("c")
        assert two.claim("d")
        assert not two.claim("b")
        one.release("b")
        assert two.claim("b")
        for journal, key in ((one, "c"), (two, "d")):
            journal.release(key)
            assert asks(other, "claim a") == "False", "the byte is held as long as any of its keys"
        two.release("b")
        assert asks(other, "claim a") == "True"


def test_asking_takes_nothing(path: Path, other: subprocess.Popen[str]) -> None:
    claims = path.with_name("journal.jsonl.d") / "claims"
    assert not is_claimed(claims, "a")
    assert not claims.exists()
    asks(other, "claim a")
    assert is_claimed(claims, "a")
    assert not is_claimed(claims, "b")
    with Journal(path) as journal:
        assert journal.claim("b")
        assert [is_claimed(claims, key) for key in "abc"] == [True, True, False]
        assert asks(other, "claim b") == "False", "asking let nothing go"
        assert asks(other, "claim c") == "True"


def test_a_forked_child_holds_nothing_and_frees_nothing(path: Path, other: subprocess.Popen[str]) -> None:
    with Journal(path) as journal:
        assert journal.claim("a")
        child = os.fork()
        if child == 0:
            with Journal(path) as own:
                os._exit(0 if not own.claim("a") and own.claim("b") else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert asks(other, "claim a") == "False"


def test_claims_leave_no_file_open(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with Journal(path) as one, Journal(path) as two:
            assert one.claim("a")
            assert two.claim("b")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_verdict_written_before_is_known_with_the_claim(path: Path) -> None:
    with Journal(path) as one, Journal(path) as two:
        assert one.claim(make(0).key)
        one.append([make(0)])
        one.release(make(0).key)
        assert two.claim(make(0).key)
        assert two.get(make(0).key) == make(0)


def test_without_a_file_every_claim_is_granted() -> None:
    with Journal(None) as journal:
        assert journal.claim("a")
        journal.release("a")
        assert journal.folder is None


MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 0:40 / /home rw,relatime - nfs4 server:/home rw,vers=4.2,local_lock=none,addr=10.0.0.1
31 27 0:41 / /scratch rw - nfs server:/scratch rw,vers=3,{options},addr=10.0.0.1
32 27 0:42 / /my\040disk rw - nfs4 server:/a rw,local_lock=posix
33 27 0:43 / /old rw - nfs server:/old rw,nolock
34 27 254:2 / /old rw - ext4 /dev/vdb rw
35 30 0:44 / /home/lustre rw - lustre mgs:/l rw,{options}
36 27 0:45 / /share rw - cifs //server/share rw,{options}
"""


def mounted(folder: Path, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mountinfo").write_text(MOUNTS.replace("{options}", options))
    monkeypatch.setattr("emc.journal.locks.MOUNTS", folder / "mountinfo")


@pytest.mark.parametrize(
    ("path", "options", "system"),
    [
        ("/scratch/a/journal.jsonl", "nolock", "nfs"),
        ("/scratch/journal.jsonl", "local_lock=all", "nfs"),
        ("/scratch/journal.jsonl", "local_lock=flock", "nfs"),
        ("/scratch/journal.jsonl", "local_lock=posix", "nfs"),
        ("/my disk/journal.jsonl", "local_lock=posix", "nfs4"),
        ("/home/lustre/journal.jsonl", "localflock", "lustre"),
        ("/share/journal.jsonl", "nobrl", "cifs"),
    ],
)
def test_a_mount_whose_locks_stay_on_one_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, options: str, system: str
) -> None:
    mounted(tmp_path, options, monkeypatch)
    with pytest.raises(JournalError) as caught:
        Journal(path)
    point = "/" + "/".join(path.split("/")[1:-1]).removesuffix("/a")
    assert str(caught.value) == (
        f"a journal needs locks that every machine sees, got {path} on {point}, which is {system} mounted with "
        f"{options}; mount it without, or choose another with --journal"
    )


@pytest.mark.parametrize(
    "path", ["/home/me/j.jsonl", "/scratchy/j.jsonl", "/old/j.jsonl", "/j.jsonl", "/scratch/j.jsonl", "/share/j.jsonl"]
)
def test_other_mounts_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    mounted(tmp_path, "local_lock=none", monkeypatch)
    check_mount(path)


def test_where_mounts_are_not_listed_they_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emc.journal.locks.MOUNTS", tmp_path / "absent")
    check_mount("/scratch/journal.jsonl")
    (tmp_path / "nonsense").write_text("\n - \na b c\n1 2 3 4 5 6 - x\n")
    monkeypatch.setattr("emc.journal.locks.MOUNTS", tmp_path / "nonsense")
    check_mount("/scratch/journal.jsonl")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("function", ["flock", "lockf"])
def test_a_file_system_without_locks_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int, function: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, function, refuse)
    with pytest.raises(JournalError) as caught:
        Journal(path).claim("a")
    place = path if function == "flock" else path.with_name("journal.jsonl.d") / "claims"
    assert str(caught.value) == (
        f"a journal needs file locks, got {place} on a file system without them ({os.strerror(code)}); choose another "
        "with --journal"
    )


def test_claims_that_cannot_be_made_are_told(path: Path) -> None:
    path.with_name("journal.jsonl.d").write_text("in the way")
    with Journal(path) as journal, pytest.raises(JournalError, match=r"cannot have its folder .*: File exists; free"):
        journal.claim("a")
    path.with_name("journal.jsonl.d").unlink()
    path.with_name("journal.jsonl.d").mkdir()
    (path.with_name("journal.jsonl.d") / "claims").write_text("in the way")
    with Journal(path) as journal, pytest.raises(JournalError, match=r"cannot have claims in its folder .*: File exis"):
        journal.claim("a")


def test_claims_can_be_closed_in_any_order(tmp_path: Path) -> None:
    one, two = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")
    assert one.take("a")
    one.close()
    assert two.take("a")
    two.close()
    assert not is_claimed(tmp_path / "claims", "a")
