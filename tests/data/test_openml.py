"""The real `openml` client against a local server that speaks OpenML's API: XML descriptions, ARFF, parquet by S3."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import openml
import pandas as pd
import pytest

from emc.data import DATA, load
from emc.errors import DataError

ARFF = """@RELATION small
@ATTRIBUTE ID INTEGER
@ATTRIBUTE age REAL
@ATTRIBUTE 'work class' {Private, State-gov}
@ATTRIBUTE same REAL
@ATTRIBUTE class {<=50K, >50K}
@DATA
1,39,State-gov,7,<=50K
2,50,?,7,>50K
3,?,Private,7,<=50K
4,38,Private,7,>50K
5,50,?,7,<=50K
"""

SPARSE = """@RELATION sparse
@ATTRIBUTE a REAL
@ATTRIBUTE class {0,1}
@DATA
{0 1.5, 1 1}
{1 1}
"""


def frame() -> pd.DataFrame:
    """The same table as in the ARFF file, as OpenML stores it in parquet."""
    return pd.DataFrame(
        {
            "ID": np.arange(1.0, 6.0),
            "age": [39, 50, np.nan, 38, 50],
            "work class": pd.Categorical(["State-gov", None, "Private", "Private", None]),
            "same": 7.0,
            "class": pd.Categorical(["<=50K", ">50K", "<=50K", ">50K", "<=50K"]),
        }
    )


@dataclass
class Server:
    """What the server knows, and what it was asked."""

    address: str = ""
    descriptions: dict[int, dict[str, str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def add(self, number: int, name: str, arff: str = ARFF, **more: str) -> None:
        """A dataset with an ARFF file; `more` are further elements of its description."""
        path = f"/data/v1/download/{number}/small.arff"
        self.files[path] = arff.encode()
        self.descriptions[number] = {
            "id": str(number),
            "name": name,
            "version": "2",
            "format": "ARFF",
            "url": self.address + path,
            "md5_checksum": hashlib.md5(arff.encode(), usedforsecurity=False).hexdigest(),
            "default_target_attribute": "class",
            **more,
        }


def describe(facts: dict[str, str]) -> bytes:
    body = "".join(f"<oml:{key}>{value}</oml:{key}>" for key, value in facts.items())
    return f'<oml:data_set_description xmlns:oml="http://openml.org/openml">{body}</oml:data_set_description>'.encode()


UNKNOWN = b"""<oml:error xmlns:oml="http://openml.org/openml"><oml:code>111</oml:code>
<oml:message>Unknown dataset</oml:message></oml:error>"""


class _Handler(BaseHTTPRequestHandler):
    state: Server

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, status: int, content: bytes, kind: str = "text/xml") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def do_GET(self) -> None:
        self.state.asked.append(f"{self.command} {self.path}")
        number = self.path.removeprefix("/api/v1/xml/data/")
        if self.path in self.state.files:
            self._answer(200, self.state.files[self.path], "application/octet-stream")
        elif number.isdigit() and int(number) in self.state.descriptions:
            self._answer(200, describe(self.state.descriptions[int(number)]))
        elif number.isdigit() and int(number) < 10**6:
            self._answer(412, UNKNOWN)
        else:
            self._answer(404, b"<html><body>Not found</body></html>", "text/html")

    do_HEAD = do_GET  # noqa: N815


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    state.address = f"http://127.0.0.1:{http.server_port}"
    monkeypatch.setattr(openml.config, "server", state.address + "/api/v1/xml")
    monkeypatch.setattr(openml._api_calls, "_human_delay", lambda _: 0.0)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def settings() -> dict[str, Any]:
    return dict(openml.config.get_config_as_dict())


def test_arff(server: Server) -> None:
    server.add(7, "small")
    before = settings()
    pool = load("openml:id=7")
    assert pool.facts.name == "small"
    assert pool.facts.classes == ("<=50K", ">50K")
    # ID, age and its indicator, work class (Private, State-gov, missing); "same" never varies
    assert pool.facts.shape == (6,)
    assert pool.facts.constant_columns == ("same",)
    assert pool.facts.missing_filled == 3
    assert pool.facts.notes == ("OpenML 7, version 2",)
    assert pool.y.tolist() == [0, 1, 0, 1, 0]
    np.testing.assert_array_equal(pool.X[:, 2], [0, 0, 1, 0, 0])
    np.testing.assert_array_equal(pool.X[:, 3:], [[0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 0, 1]])
    assert settings() == before


def test_parquet_gives_the_same_pool(server: Server) -> None:
    server.add(7, "small")
    server.add(8, "small", parquet_url=f"{server.address}/datasets/0000/0008/dataset_8.pq")
    buffer = io.BytesIO()
    frame().to_parquet(buffer)
    server.files["/datasets/0000/0008/dataset_8.pq"] = buffer.getvalue()
    by_parquet = load("openml:id=8")
    assert "GET /datasets/0000/0008/dataset_8.pq" in server.asked
    assert not any("small.arff" in line for line in server.asked)
    assert by_parquet.facts.content_hash == load("openml:id=7").facts.content_hash


def test_a_missing_parquet_file_falls_back_to_arff(server: Server) -> None:
    server.add(7, "small", parquet_url=f"{server.address}/datasets/0000/0007/dataset_7.pq")
    assert load("openml:id=7").facts.rows == 5


def test_the_second_load_needs_no_network_and_unpickles_nothing(server: Server, data_home: Path) -> None:
    server.add(7, "small")
    first = load("openml:id=7")
    asked = len(server.asked)
    pickles = list(data_home.rglob("*.pkl*"))
    assert pickles  # the client of today writes one
    for file in pickles:
        file.write_bytes(b"this is no pickle")
    second = load("openml:id=7")
    assert len(server.asked) == asked
    assert second.facts == first.facts
    assert len(list(data_home.rglob("*.feather"))) == 1
    assert not list(data_home.rglob(".partial-*"))


def test_repeats_and_conflicts_without_the_identifier(server: Server) -> None:
    server.add(7, "small", row_id_attribute="ID")
    pool = load("openml:id=7")
    assert (pool.facts.rows, pool.facts.repeats, pool.facts.conflicts) == (4, 1, 1)
    assert "OpenML ignores were dropped: ID" in pool.facts.notes[1]
    server.add(8, "small", ignore_attribute="ID,age")
    assert load("openml:id=8").facts.shape == (3,)


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [("covertype", 1596, "covertype"), ("adult", 1590, "adult"), ("credit", 42477, "default-of-credit-card-clients")],
)
def test_named_datasets_check_their_name(
    server: Server, data_home: Path, name: str, number: int, expected: str
) -> None:
    server.add(number, "impostor")
    with pytest.raises(DataError, match=f'OpenML {number} must be "{expected}", got "impostor" from the server'):
        load(name)
    assert not any("small.arff" in line for line in server.asked)  # refused before anything is downloaded
    assert list((data_home / "openml").iterdir()) == []
    server.add(number, expected)
    assert load(name).facts.name == expected
    assert ("ID" in "".join(DATA.build(name).notes)) == (name == "credit")


def test_another_target(server: Server) -> None:
    server.add(7, "small", default_target_attribute="class")
    assert load("openml:id=7,target=ID").facts.classes == ("1", "2", "3", "4", "5")
    with pytest.raises(DataError, match=r'no column "clas" for a target; did you mean "class"\?'):
        load("openml:id=7,target=clas")
    server.descriptions[8] = {**server.descriptions[7], "id": "8"}
    del server.descriptions[8]["default_target_attribute"]
    with pytest.raises(DataError, match="needs one target column, got none from OpenML; name one by target="):
        load("openml:id=8")


@pytest.mark.usefixtures("server")
def test_an_id_that_does_not_exist(data_home: Path) -> None:
    with pytest.raises(
        DataError, match=r"id must exist at http://.*, got .*/99 .*Unknown dataset.*; check id"
    ) as caught:
        load("openml:id=99")
    assert "\n" not in str(caught.value)
    assert list((data_home / "openml").iterdir()) == []


@pytest.mark.usefixtures("server")
def test_a_server_that_speaks_no_openml() -> None:
    with pytest.raises(DataError, match=r"needs a copy in .*openml or OpenML's server to answer, got neither"):
        load("openml:id=1000001")


def test_a_wrong_checksum_is_refused_and_not_kept(server: Server, data_home: Path) -> None:
    server.add(7, "small")
    server.files["/data/v1/download/7/small.arff"] = ARFF.replace("39", "93").encode()
    with pytest.raises(DataError, match=r"got neither \(Checksum of downloaded file is unequal"):
        load("openml:id=7")
    assert list((data_home / "openml").iterdir()) == []
    server.add(7, "small")
    assert load("openml:id=7").facts.rows == 5


def test_sparse_tables_are_refused(server: Server) -> None:
    server.add(7, "sparse", SPARSE, format="Sparse_ARFF")
    with pytest.raises(DataError, match=r'must be dense, got "sparse" \(7\) as Sparse_ARFF'):
        load("openml:id=7")


def test_server_down(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openml.config, "server", "http://127.0.0.1:9/api/v1/xml")
    monkeypatch.setattr(openml._api_calls, "_human_delay", lambda _: 0.0)
    before = settings()
    with pytest.raises(
        DataError, match=r"data adult \(OpenML 1590\) needs .* to answer, got neither .*; connect"
    ) as caught:
        load("adult")
    assert "\n" not in str(caught.value)
    assert settings() == before
    assert list((data_home / "openml").iterdir()) == []
