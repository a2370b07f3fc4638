"""Files of a user's by `file.py:name`, and what functions are known by."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import emc
from emc.api import prepare
from emc.errors import EmcError, SpecError, UnknownNameError
from emc.opaque import _with_options
from emc.own import is_own, known_by, load_own, resolve_own
from emc.registry import PluginSpec
from emc.specs import Measurement

NET = """
from torch import nn
from layers import hidden

class Net(nn.Module):
    def __init__(self, shape, num_classes, width: int = 4, *, slope=0.5, bias: bool = True, name=None):
        super().__init__()
        layers = hidden(shape, width), nn.LeakyReLU(slope), nn.Linear(width, num_classes)
        self.body = nn.Sequential(nn.Flatten(), *layers)

    def forward(self, X):
        return self.body(X)

class Bare(nn.Module):
    def __init__(self, width=4):
        super().__init__()

def make(shape, num_classes, /, **options):
    return Net(shape, num_classes, **options)

def needing(shape, num_classes, *, width):
    return Net(shape, num_classes, width)

number = 3
_hidden = make
"""
LAYERS = """
import math
from torch import nn

def hidden(shape, width):
    return nn.Linear(math.prod(shape), width)
"""
HANDED = ("input_shape", "num_classes")


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "layers.py").write_text(LAYERS)
    (tmp_path / "net.py").write_text(NET)
    sys.modules.pop("layers", None)
    return tmp_path / "net.py"


def spec(text: str) -> PluginSpec:
    return resolve_own(PluginSpec.parse(text), "--model", HANDED)


def test_options_are_typed_by_the_signature_or_by_their_looks(net: Path) -> None:
    defaults = (("width", 4), ("slope", 0.5), ("bias", True), ("name", None))
    assert spec(f"{net}:Net").options == (("", "Net"), *defaults)
    found = dict(spec(f"{net}:Net,width=16,slope=0.25,bias=no,name=x").options)
    assert found == {"": "Net", "width": 16, "slope": 0.25, "bias": False, "name": "x"}
    assert dict(spec(f"{net}:make,width=3,more=none").options) == {"": "make", "more": None, "width": 3}


def test_the_resolved_text_means_the_same(net: Path) -> None:
    once = spec(f"{net}:Net,width=16")
    assert is_own(once)
    assert spec(str(once)) == once


def test_a_model_of_a_file_is_measured_and_known_by_its_content(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(net.parent)
    small = {"min_steps": 20, "check_steps": 10, "max_epochs": 1, "n_max": 16, "replicates": 1, "labels": "random"}
    found = emc.measure(model="net.py:Net,width=3", **small)
    assert found.parameters == 65 * 3 + 4 * 10
    assert found.procedure["model"] == "net.py:Net,width=3,slope=0.5,bias=true,name=none"
    again = prepare(Measurement.from_flat({"model": "net.py:Net,width=3", **small}))
    assert again.fingerprint == found.fingerprint
    assert again.setup.identified
    (net.parent / "layers.py").write_text(LAYERS + "\n# another")
    sys.modules.pop("layers")
    net.write_text(NET + "\n")
    other = prepare(Measurement.from_flat({"model": "net.py:Net,width=3", **small}))
    assert other.fingerprint != found.fingerprint
    with pytest.raises(SpecError, match=r"^--content must be that of what is measured"):
        emc.measure(model="net.py:Net,width=3", content=found.procedure["content"], **small)


def test_what_a_file_imports_beside_it_is_part_of_it(net: Path) -> None:
    first = load_own(PluginSpec.parse(f"{net}:Net"), "--model", HANDED).source
    assert LAYERS in first
    assert str(net.parent) not in sys.path


def test_a_file_is_run_once(tmp_path: Path) -> None:
    file = tmp_path / "counting.py"
    file.write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\ndef f(X, y, seed, budget): ...\n")
    for _ in range(3):
        load_own(PluginSpec.parse(f"{file}:f"), "--train", ("X", "y", "seed", "budget"))
    assert (tmp_path / "ran").is_dir()  # making it again would have raised


def test_a_file_is_no_main_script(tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text("def f(a, b): ...\nif __name__ == '__main__':\n    raise SystemExit(1)\n")
    assert spec(f"{file}:f").options == (("", "f"),)


def train(path: Path) -> Any:
    return load_own(PluginSpec.parse(f"{path}:fit"), "--train", ("X", "y", "seed", "budget"))


IMPORTS = {
    "at the top": "from hp import WHO\ndef fit(X, y, seed, budget): return WHO",
    "in a function": "def fit(X, y, seed, budget):\n    from hp import WHO\n    return WHO",
    "of a package": "def fit(X, y, seed, budget):\n    from hq.inner import WHO\n    return WHO",
    "by a helper": "import hr\ndef fit(X, y, seed, budget): return hr.who()",
    "computed": "import importlib\nWHO = importlib.import_module('h' + 'p').WHO\n"
    "def fit(X, y, seed, budget): return WHO",
}


def fill(folder: Path, who: str, lines: str) -> Path:
    (folder / "hq").mkdir(parents=True, exist_ok=True)
    (folder / "hp.py").write_text(f"WHO = {who!r}")
    (folder / "hq" / "__init__.py").write_text("")
    (folder / "hq" / "inner.py").write_text("import hp\nWHO = hp.WHO")
    (folder / "hr.py").write_text("def who():\n    import hp\n    return hp.WHO")
    (folder / "train.py").write_text(lines)
    return folder / "train.py"


@pytest.mark.parametrize("lines", IMPORTS.values(), ids=IMPORTS)
def test_files_of_two_folders_import_their_own_helpers(tmp_path: Path, lines: str) -> None:
    paths = [fill(tmp_path / who, who, lines) for who in "ab"]
    first, second = (train(path) for path in paths)
    assert [found.value(0, 0, 0, 0) for found in (first, second, first)] == ["a", "b", "a"]
    assert first.source != second.source
    assert str(tmp_path) not in "".join(sys.path)


@pytest.mark.parametrize("lines", [lines for kind, lines in IMPORTS.items() if kind != "computed"])
def test_a_helper_that_changed_is_run_again_and_changes_what_a_file_is_known_by(tmp_path: Path, lines: str) -> None:
    first, second = (train(fill(tmp_path, who, lines)) for who in ("a", "changed"))
    assert first.source != second.source
    assert second.value(0, 0, 0, 0) == "changed"


def test_two_files_of_a_folder_both_have_its_helper_in_what_they_are_known_by(tmp_path: Path) -> None:
    first = fill(tmp_path, "a", IMPORTS["at the top"])
    other = first.with_name("other.py")
    other.write_text(IMPORTS["at the top"] + "\n")
    assert "WHO = 'a'" in train(first).source
    assert "WHO = 'a'" in train(other).source


def test_what_a_file_returns_may_import_too_also_in_another_process(tmp_path: Path) -> None:
    predict = "    def predict(X):\n        import hp\n        return hp.WHO\n    return predict"
    lines = f"def fit(X, y, seed, budget):\n{predict}"
    found = train(fill(tmp_path, "a", lines))
    copied = cloudpickle.loads(cloudpickle.dumps(found))
    assert copied.value.folder.path == str(tmp_path)
    fit = _with_options(copied)
    assert fit(0, 0, 0, 0)(0) == "a"


def test_a_user_s_own_modules_stay_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "mine", "mine", "")
    monkeypatch.syspath_prepend(tmp_path / "mine")
    monkeypatch.delitem(sys.modules, "hp", raising=False)
    mine = importlib.import_module("hp")
    assert train(fill(tmp_path / "a", "a", IMPORTS["at the top"])).value(0, 0, 0, 0) == "a"
    assert importlib.import_module("hp") is mine


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("missing.py:Net", SpecError, r'^--model needs a file that exists, got "missing.py"; check the path$'),
        ("net.py", SpecError, r"^--model takes file.py:name, got no name for net.py; write net.py:name$"),
        ("net.py:width=3", SpecError, r"got no name for net.py"),
        ("net.py:a.b", SpecError, r'got "a.b" for net.py'),
        ("net.py:Nett", UnknownNameError, r'"Nett" in net.py, got none; did you mean "Net"\?$'),
        ("net.py:number", UnknownNameError, r"got something that cannot be called"),
        ("net.py:Net,with=3", UnknownNameError, r'Net of net.py has no option "with"; did you mean "width"\?$'),
        ("net.py:Net,width=wide", SpecError, r'Net of net.py takes width as int, got "wide"'),
        ("net.py:Bare", SpecError, r"called with \(input_shape, num_classes\) .* got one that takes \(width\)"),
        ("net.py:needing", SpecError, r"needing of net.py needs width"),
        ("folder.py:Net", SpecError, r"^--model needs a file of Python, got \"folder.py\" \(is a directory\)"),
        ("syntax.py:Net", SpecError, r"must be Python, got .*syntax.py\" \(.*in line 2\); mend it"),
        ("raising.py:Net", SpecError, r"must load without errors, got ZeroDivisionError: division by zero in"),
        ("leaving.py:Net", SpecError, r"must load without errors, got SystemExit: 3 in"),
        ("bytes.py:Net", SpecError, r"needs a file of Python, got \"bytes.py\" \('utf-8' codec"),
    ],
)
def test_mistakes(net: Path, text: str, error: type[EmcError], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = net.parent
    monkeypatch.chdir(folder)
    (folder / "folder.py").mkdir()
    (folder / "syntax.py").write_text("x = 1\nclass Net(:\n")
    (folder / "raising.py").write_text("1 / 0\n")
    (folder / "leaving.py").write_text("raise SystemExit(3)\n")
    (folder / "bytes.py").write_bytes(b"\xff\xfe")
    with pytest.raises(error, match=message):
        spec(text)


def adding(k: Any) -> Callable[[Any], Any]:
    return lambda x: x + k


SCALE = 2


def scaled(x: Any) -> Any:
    return np.tanh(SCALE * x) + len([x]) + adding(1)(x)


class Adder:
    def __init__(self, k: Any) -> None:
        self.k = k

    def __call__(self, x: Any) -> Any:
        return x + self.k

    def add(self, x: Any) -> Any:
        return x + self.k


@pytest.mark.parametrize(
    "make",
    [adding, Adder, lambda k: Adder(k).add, lambda k: functools.partial(adding, k)],
    ids=["closure", "object", "method", "partial"],
)
def test_what_a_function_holds_is_part_of_it(make: Callable[[Any], Any]) -> None:
    values = [1, 2, 1.0, "1", None, (1,), [1, 2], {"a": 1}, np.arange(3), np.arange(3.0)]
    known = [known_by(make(value)) for value in values]
    assert None not in known
    assert len(set(known)) == len(values)
    assert known == [known_by(make(value)) for value in values]


def test_globals_that_a_function_uses_are_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = known_by(scaled)
    assert before is not None
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3)
    assert known_by(scaled) != before


K = 1


def holding(x: Any) -> Any:
    return x + K


def calling(x: Any) -> Any:
    return scaled(x) + holding(x)


class Scaled:
    def __call__(self, x: Any) -> Any:
        return holding(x) * self.factor

    factor = 2


@pytest.mark.parametrize("function", [calling, Scaled(), Scaled], ids=["second helper", "method", "class"])
def test_what_helpers_use_is_part_of_it(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for value in (1, 2222, 333333):
        monkeypatch.setattr(sys.modules[__name__], "K", value)
        found.add(known_by(function))
    assert len(found) == 3
    assert None not in found


def test_attributes_of_a_class_are_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = known_by(Scaled())
    monkeypatch.setattr(Scaled, "factor", 3)
    assert known_by(Scaled()) not in (before, None)


def test_helpers_that_share_an_object_differ_from_helpers_with_equal_ones() -> None:
    one, other = [1], [1]
    assert known_by(adding([one, one])) != known_by(adding([one, other]))


def test_lambdas_of_one_line_differ() -> None:
    first, second = lambda x: x + 1, lambda x: x + 2
    assert known_by(first) != known_by(second)


@dataclass(frozen=True)
class Factor:
    factor: int = 3

    def __call__(self, x: Any) -> Any:
        return self.factor * x


def test_a_dataclass_is_known_by_its_fields() -> None:
    assert known_by(Factor(2)) == known_by(Factor(2)) != known_by(Factor(3))
    assert known_by(Factor(2)) is not None


def test_a_method_of_an_object_of_a_package_is_known_by_nothing() -> None:
    assert known_by(adding(np.random.default_rng(0).random)) is None


@pytest.mark.parametrize(
    "use",
    [
        "import hm\ndef fit(x): return hm.go(x)",
        "def fit(x):\n    import hm\n    return hm.go(x)",
        "import hm\nf = [hm]\ndef fit(x): return f[0].go(x)",
    ],
    ids=["module", "import inside", "in a list"],
)
def test_a_module_that_is_not_installed_is_known_by_its_text_and_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    found = set()
    for which, rate in (("hm", 1), ("hm", 2222), ("hm_deeper", 1), ("hm_deeper", 2222)):
        folder = tmp_path / f"{which}{rate}"
        folder.mkdir()
        (folder / "hm_user.py").write_text(use)
        (folder / "hm_deeper.py").write_text(f"RATE = {rate if which == 'hm_deeper' else 7}")
        (folder / "hm.py").write_text(
            f"def go(x):\n    import hm_deeper\n    return x * {rate if which == 'hm' else 7}"
        )
        for name in ("hm", "hm_deeper", "hm_user"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            found.add(known_by(importlib.import_module("hm_user").fit))
    assert len(found) == 4
    assert None not in found


def test_a_module_that_was_changed_where_it_runs_is_known_by_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hm_set.py").write_text("RATE = 1")
    (tmp_path / "hm_use.py").write_text("import hm_set\ndef fit(x): return x * hm_set.RATE")
    monkeypatch.syspath_prepend(tmp_path)
    used = importlib.import_module("hm_use")
    before = known_by(used.fit)
    monkeypatch.setattr(used.hm_set, "RATE", 2)
    assert known_by(used.fit) not in (before, None)


def test_a_function_without_source_or_with_strange_parts_is_known_by_nothing() -> None:
    assert known_by(eval("lambda x: x")) is None
    assert known_by(adding(object())) is None
