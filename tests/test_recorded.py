from __future__ import annotations

import gzip
import shutil

import pytest
from click.testing import CliRunner

import emc
from emc.cli.main import main as command
from emc.errors import JournalError
from emc.journal import read
from emc.recorded import read_recorded, require_finished

LINEAR = {"model": "linear", "data": "gaussian:dim=3,size=60", "labels": "random"}


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    path = tmp_path_factory.mktemp("recorded") / "journal.jsonl"
    emc.measure(**LINEAR, replicates=2, n_start=4, journal=path)
    emc.curve(**LINEAR, sizes=[4, 8], draws=3, journal=path)
    return path


def test_results_and_curves_come_back_whole(journal):
    again = emc.measure(**LINEAR, replicates=2, n_start=4, journal=journal)
    curve = emc.curve(**LINEAR, sizes=[4, 8], draws=3, journal=journal)
    found = read_recorded(journal)
    assert [result.to_dict() for result in found.results] == [again.to_dict() | {"unused": {}}]
    assert [each.to_dict() | {"unused": {}} for each in found.curves] == [curve.to_dict() | {"unused": {}}]
    assert found.cells[curve.fingerprint]["data"] == LINEAR["data"]
    assert not found.failed


def test_a_packed_journal_reads_alike_and_is_not_written(journal, tmp_path):
    packed = tmp_path / "journal.jsonl.gz"
    with journal.open("rb") as plain, gzip.open(packed, "wb") as copy:
        shutil.copyfileobj(plain, copy)
    assert list(read(packed)) == list(read(journal))
    assert read_recorded(packed) == read_recorded(journal)
    with pytest.raises(JournalError, match="a packed journal can only be read"):
        emc.measure(**LINEAR, replicates=2, n_start=4, journal=packed)
    shown = CliRunner().invoke(command, ["journal", "check", str(packed)])
    assert shown.exit_code == 0
    assert "1 curve" in shown.output


@pytest.mark.parametrize("damage", [b"no gzip at all", None])
def test_a_damaged_packed_journal_is_told_in_a_sentence(journal, tmp_path, damage):
    packed = tmp_path / "journal.jsonl.gz"
    packed.write_bytes(gzip.compress(journal.read_bytes())[:-20] if damage is None else damage)
    with pytest.raises(JournalError, match="must be packed with gzip and whole"):
        list(read(packed))


def test_a_record_whose_probes_are_gone_is_refused(journal, tmp_path):
    torn = tmp_path / "torn.jsonl"
    lines = [line for line in journal.read_bytes().splitlines(True) if b'"kind":"probe"' not in line]
    torn.write_bytes(b"".join(lines))
    with pytest.raises(JournalError, match="must hold the probes that its records name"):
        read_recorded(torn)


def test_an_interrupted_curve_leaves_no_record(monkeypatch, tmp_path):
    from dataclasses import replace

    from emc import curves

    conclude = curves._conclude
    monkeypatch.setattr(curves, "_conclude", lambda *given: replace(conclude(*given), interrupted=True))
    path = tmp_path / "journal.jsonl"
    emc.curve(**LINEAR, sizes=[4], draws=2, journal=path)
    assert read_recorded(path).curves == ()


def test_one_measurement_asked_for_in_two_ways_is_one_in_the_words_of_the_last(tmp_path):
    path = tmp_path / "journal.jsonl"
    small = {"data": "digits", "labels": "random", "replicates": 1, "n_max": 16, "min_steps": 100, "max_epochs": 1}
    named = emc.measure(model="mlp:width=2", **small, journal=path)
    matched = emc.measure(model="mlp", match_parameters=160, **small, journal=path)
    assert named.fingerprint == matched.fingerprint
    found = read_recorded(path)
    assert [result.fingerprint for result in found.results] == [named.fingerprint]
    assert found.cells[named.fingerprint]["match_parameters"] == 160


def test_damaged_lines_of_all_kinds_are_told_once(journal, tmp_path):
    damaged = tmp_path / "damaged.jsonl"
    odd = b'no line\n{"schema":2,"kind":"probe","n":}\n{"schema":2,"kind":"measurement","emc":}\n'
    damaged.write_bytes(odd + journal.read_bytes())
    with pytest.warns(UserWarning, match="damaged lines skipped: 3") as told:
        found = read_recorded(damaged)
    assert len(told) == 1
    assert found == read_recorded(journal)


def test_a_damaged_probe_names_the_check(journal, tmp_path):
    damaged = tmp_path / "damaged.jsonl"
    place = journal.read_bytes().index(b'"verdict":')
    damaged.write_bytes(journal.read_bytes()[:place] + b"!" + journal.read_bytes()[place + 1 :])
    with (
        pytest.warns(UserWarning, match="damaged lines skipped: 1"),
        pytest.raises(JournalError, match="emc journal check names damaged lines"),
    ):
        read_recorded(damaged)


def test_a_journal_without_finished_work_is_refused(journal, tmp_path):
    require_finished(journal, "a claim is tested on")
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(JournalError, match="a claim is tested on finished measurements and curves, got none in"):
        require_finished(empty, "a claim is tested on")
