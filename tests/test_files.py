from __future__ import annotations

import os
from pathlib import Path

import pytest

from emc.errors import OutputError
from emc.files import check_outputs, replacing, write_text


def test_write_text_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    write_text(target, "new")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_failure_in_the_middle_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")

    def write_half() -> None:
        with replacing(target) as temporary:
            temporary.write_text("ha")
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"out.json\" \(no space left on device\); choose another path"):
        write_half()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_a_device_is_written_to_and_not_replaced() -> None:
    check_outputs(["/dev/null", "/dev/null"], ["/dev/null"])
    write_text("/dev/null", "gone")
    assert Path("/dev/null").is_char_device()


def test_check_leaves_no_trace(tmp_path: Path) -> None:
    check_outputs([tmp_path / "out.json"])
    assert os.listdir(tmp_path) == []


def test_check_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="an output path names a file, got the folder"):
        check_outputs([tmp_path])


def test_check_refuses_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"needs an existing folder, got .*create \".*absent\" first"):
        check_outputs([tmp_path / "absent" / "out.json"])


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc, where not even root can create files")
def test_check_refuses_where_nothing_can_be_created() -> None:
    with pytest.raises(OutputError, match="an output file must be writable, got"):
        check_outputs(["/proc/out.json"])


@pytest.mark.parametrize("name", ["j.jsonl", "./j.jsonl", "link.jsonl", "hard.jsonl"])
def test_an_output_is_not_the_journal(tmp_path: Path, name: str) -> None:
    journal = tmp_path / "j.jsonl"
    journal.write_text("kept")
    (tmp_path / "link.jsonl").symlink_to(journal)
    (tmp_path / "hard.jsonl").hardlink_to(journal)
    with pytest.raises(OutputError, match=r"no other file of the command, got .*, which it reads or writes too"):
        check_outputs([None, f"{tmp_path}/{name}"], [None, journal])
    check_outputs([tmp_path / "other.html", "-", "-"], [journal])


def test_an_output_is_not_the_journal_that_is_still_to_come(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no other file of the command"):
        check_outputs([tmp_path / "new.jsonl"], [f"{tmp_path}/./new.jsonl"])


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no other file of the command"):
        check_outputs([tmp_path / "new.png", f"{tmp_path}/./new.png"])
