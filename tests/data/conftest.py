"""Every test here reads and writes below its own temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data root; the cache lies beside it."""
    home = tmp_path / "data"
    home.mkdir()
    monkeypatch.setenv("EMC_DATA", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return home
