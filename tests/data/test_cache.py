from __future__ import annotations

import os
from pathlib import Path

import pytest

from emc.data.cache import cache_root, data_root, install, one_line, set_data_root, staging
from emc.errors import DataError


def test_data_root_follows_the_variable_then_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert data_root() == tmp_path / "data"
    monkeypatch.delenv("EMC_DATA")
    assert data_root() == tmp_path / "cache" / "emc" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "emc"


def test_set_data_root_reaches_child_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    set_data_root("elsewhere")
    assert os.environ["EMC_DATA"] == str(tmp_path / "elsewhere")


def test_set_data_root_refuses_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DataError, match=r"data root must be a folder, got the file .*file; name"):
        set_data_root(file)


def test_staging_leaves_nothing_behind_when_it_fails(tmp_path: Path) -> None:
    home = tmp_path / "home"

    def fail() -> None:
        with staging(home) as stage:
            (stage / "half").write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert list(home.iterdir()) == []


def test_staging_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match=r"downloads need a writable folder, got .*; point EMC_DATA"),
        staging(tmp_path / "file"),
    ):
        pass


def test_install_moves_whole_folders_and_keeps_what_another_process_installed(tmp_path: Path) -> None:
    stage, home = tmp_path / "stage", tmp_path / "home"
    for folder, text in ((stage / "a" / "set", "mine"), (home / "b" / "set", "theirs"), (stage / "b" / "set", "mine")):
        folder.mkdir(parents=True)
        (folder / "file").write_text(text)
    install(stage, home, [Path("a/set"), Path("b/set")])
    assert (home / "a" / "set" / "file").read_text() == "mine"
    assert (home / "b" / "set" / "file").read_text() == "theirs"


def test_one_line_is_bounded() -> None:
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("x" * 1000))) == 240
