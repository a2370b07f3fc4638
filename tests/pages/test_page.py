from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from page_journals import write_journal

import emc
from emc.errors import JournalError, OutputError
from emc.journal import Journal
from emc.pages import page
from emc.pages.page import breakable, sections
from emc.recorded import Recorded, read_recorded

pytest.importorskip("itables")
pytest.importorskip("altair")


def test_sections_with_nothing_to_say_are_left_out(sized, make_curve):
    def titles(*parts):
        return [section.title for section in sections(Recorded(*parts))]

    assert titles((), (), {}, {}) == []
    assert titles((), (), {}, {"a": "it broke"}) == ["Measurements"]
    assert titles((sized(4),), (), {}, {}) == ["Measurements", "Claims", "Cost", "Procedure and versions"]
    assert titles((sized(4), sized(8)), (make_curve(),), {}, {})[1:3] == ["Curves", "Comparisons"]


def test_no_name_of_a_journal_is_html(hostile, tmp_path):
    emc.report(hostile, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    own = re.sub(r"data:text/javascript;base64,[A-Za-z0-9+/=]*", "", text)
    assert len(re.findall("<script", own)) == 2
    assert "onerror=document" not in own.replace("&lt;img src=x onerror=document", "").replace("img src=x onerror", "")
    assert "<b>" not in own
    assert own.count("</html>") == 1
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', own, re.DOTALL)
    assert data is not None
    assert set(json.loads(data[1])) == {"charts", "sources"}


def test_a_page_asks_for_nothing(hostile, tmp_path):
    emc.report(hostile, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "default-src &#39;none&#39;" in text
    assert not re.findall(r"<(?:link|img|iframe|script)[^>]*(?:href|src)=", text)


def test_two_pages_of_one_journal_are_equal(hostile, tmp_path):
    for name in ("a.html", "b.html"):
        emc.report(hostile, tmp_path / name, title="the same")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_measurements_can_be_chosen(sized, tmp_path):
    journal = write_journal(tmp_path / "j.jsonl", [sized(4), sized(8)])
    emc.report(journal, tmp_path / "page.html", kept={"width8"})
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "width8" in text
    assert "width4" not in text
    with pytest.raises(JournalError, match="got none among those asked for in"):
        emc.report(journal, tmp_path / "page.html", kept=set())


def test_an_empty_journal_is_an_error(tmp_path):
    with Journal(tmp_path / "j.jsonl"):
        pass
    with pytest.raises(JournalError, match="a report needs a finished measurement or curve, got none in"):
        emc.report(tmp_path / "j.jsonl", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_missing_package_is_named_with_its_extra(sized, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "NEEDED", ("jinja2", "no_such_package"))
    journal = write_journal(tmp_path / "j.jsonl", [sized(4)])
    with pytest.raises(OutputError, match=r'got no no_such_package; pip install "emc\[report\]"'):
        emc.report(journal, tmp_path / "page.html")


def test_a_packed_journal_is_a_page_too(sized, tmp_path):
    import gzip

    journal = write_journal(tmp_path / "j.jsonl", [sized(4)])
    packed = Path(f"{journal}.gz")
    packed.write_bytes(gzip.compress(journal.read_bytes()))
    emc.report(packed, tmp_path / "page.html", title="packed")
    assert "<title>packed</title>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_texts_may_break_behind_options_only():
    assert breakable("a<b,c") == "a&lt;b,<wbr>c"


def test_what_is_read_is_what_is_shown(hostile):
    found = read_recorded(hostile)
    assert len(sections(found)[0].tables[0].rows) == len(found.results)
