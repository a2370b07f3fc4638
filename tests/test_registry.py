from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emc.data import DATA
from emc.data.regimes import INPUTS, LABELS
from emc.errors import DuplicateNameError, EmcError, SpecError, UnknownNameError
from emc.models import MODELS
from emc.models.activations import ACTIVATIONS
from emc.models.inits import INITS
from emc.optimizers import OPTIMIZERS
from emc.registry import Plugin, PluginSpec, Registry
from emc.reparams import REPARAMS
from emc.specs import GROWTHS
from emc.training.augmentations import AUGMENTATIONS
from emc.training.schedules import SCHEDULES

REGISTRIES: list[Registry[Any]] = [
    *(ACTIVATIONS, AUGMENTATIONS, DATA, GROWTHS, INITS, INPUTS, LABELS, MODELS, OPTIMIZERS, REPARAMS, SCHEDULES)
]

SHAPES: Registry[dict[str, Any]] = Registry("shape")


@SHAPES.register("circle", version=3, closed=True)
def circle(
    place: str,
    *,
    points: int = 3,
    radius: float = 1.0,
    filled: bool = False,
    colour: str = "red",
    marks: tuple[str, ...] = (),
    seed: int | None = None,
) -> dict[str, Any]:
    """A round one.

    More about it.
    """
    return dict(locals())


@SHAPES.register("polygon")
def polygon(*, corners: int) -> dict[str, Any]:
    """One with corners."""
    return {"corners": corners}


@SHAPES.register("star", spelled=r"s(?P<points>\d+)(?:x(?P<radius>\d+))?", added=("radius",))
def star(*, points: int = 5, radius: float = 1.0) -> dict[str, Any]:
    """One with points."""
    return {"points": points, "radius": radius}


@SHAPES.register("dot")
def dot() -> dict[str, Any]:
    """One without options."""
    return {}


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("mlp", PluginSpec("mlp")),
        ("mlp:width=16", PluginSpec("mlp", (("width", "16"),))),
        ("mlp:width=16,depth=2", PluginSpec("mlp", (("width", "16"), ("depth", "2")))),
        ("  mlp : width = 16 , depth = 2 ", PluginSpec("mlp", (("width", "16"), ("depth", "2")))),
        ("csv:path=a:b=c/d,target=t", PluginSpec("csv", (("path", "a:b=c/d"), ("target", "t")))),
        ("csv:path=one,two.csv,target=t", PluginSpec("csv", (("path", "one,two.csv"), ("target", "t")))),
        ("csv:delimiter=,,path=x", PluginSpec("csv", (("delimiter", ","), ("path", "x")))),
        ("csv:path=", PluginSpec("csv", (("path", ""),))),
        ("file:a/b.txt,mode=x", PluginSpec("file", (("", "a/b.txt"), ("mode", "x")))),
    ],
)
def test_a_plugin_is_parsed_as_a_user_writes_it(text: str, spec: PluginSpec) -> None:
    assert PluginSpec.parse(text) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mlp:=16", 'an option is written key=value, got "=16" in "mlp:=16"; write mlp:key=value'),
        ("mlp:a=1,a=2", 'an option is given once, got "a" twice in "mlp:a=1,a=2"; keep one of them'),
        ("mlp:", 'a plug-in is written name or name:key=value,key=value, got "mlp:"'),
        (":a=1", 'a plug-in is written name or name:key=value,key=value, got ":a=1"'),
        (" ", 'a plug-in is written name or name:key=value,key=value, got " "'),
    ],
)
def test_a_plugin_written_wrongly_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        PluginSpec.parse(text)


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True)
TEXTS = st.text("abcXYZ09 ./:,|-_", max_size=8).map(str.strip)


@given(NAMES, st.dictionaries(NAMES, TEXTS, max_size=4))
def test_parsing_is_the_inverse_of_str(name: str, options: dict[str, str]) -> None:
    spec = PluginSpec(name, tuple(options.items()))
    assert PluginSpec.parse(str(spec)) == spec


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "points": st.integers(),
            "radius": st.floats(allow_nan=False),
            "filled": st.booleans(),
            "colour": TEXTS,
            "marks": st.lists(st.text("abc 09", min_size=1).map(str.strip).filter(bool)).map(tuple),
            "seed": st.none() | st.integers(),
        },
    )
)
def test_typed_options_survive_their_text(options: dict[str, Any]) -> None:
    spec = SHAPES.resolve(PluginSpec("circle", tuple(options.items())))
    assert {key: spec.get(key) for key in options} == options
    again = SHAPES.resolve(str(spec))
    assert again == spec
    assert [type(value) for _, value in again.options] == [type(value) for _, value in spec.options]


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("s7", "star:points=7"),
        ("s7x2", "star:points=7,radius=2.0"),
        ("s7:radius=3", "star:points=7,radius=3.0"),
        ("star:radius=1", "star:points=5"),
        ("star:points=7,radius=1.0", "star:points=7"),
    ],
)
def test_a_name_of_a_pattern_is_the_plugin_with_its_options(text: str, resolved: str) -> None:
    """An option added later is left out at its default."""
    assert str(SHAPES.resolve(text)) == resolved
    assert SHAPES.get(text.partition(":")[0]).name == "star"
    built = {"points": 5, "radius": 1.0} | dict(SHAPES.resolve(text).options)
    assert SHAPES.build(text) == built


def test_what_a_name_spells_is_not_given_again() -> None:
    message = re.escape('s7 says its points already, got points again in "s7:points=7"; write star:...')
    with pytest.raises(SpecError, match=message):
        SHAPES.resolve("s7:points=7")
    with pytest.raises(UnknownNameError, match='there is no shape "s7y"; known are circle, dot, polygon, star'):
        SHAPES.resolve("s7y")


def test_options_take_their_types_from_the_signature_and_missing_ones_their_defaults() -> None:
    spec = SHAPES.resolve("circle:filled=yes,points=1e3,marks=a| b |,radius=2")
    assert spec.options == (
        ("points", 1000),
        ("radius", 2.0),
        ("filled", True),
        ("colour", "red"),
        ("marks", ("a", "b")),
        ("seed", None),
    )
    assert str(spec) == "circle:points=1000,radius=2.0,filled=true,colour=red,marks=a|b,seed=none"
    assert isinstance(spec.get("radius"), float)


def test_the_option_a_plugin_names_may_be_written_without_its_key() -> None:
    files: Registry[tuple[str, int]] = Registry("file")

    @files.register("file", bare="path")
    def file(*, path: str, mode: int = 1) -> tuple[str, int]:
        return path, mode

    assert files.build("file:a/b.txt") == files.build("file:path=a/b.txt") == ("a/b.txt", 1)
    assert str(files.resolve("file:a/b.txt,mode=2")) == "file:path=a/b.txt,mode=2"
    with pytest.raises(SpecError, match=r'^an option is written key=value, got "a" in "file:a,path=b"; write'):
        files.build("file:a,path=b")
    with pytest.raises(SpecError, match=r'got "3" in "circle:3"; write circle:key=value, its options are points, ra'):
        SHAPES.resolve("circle:3")

    @files.register("none")
    def none() -> tuple[str, int]:
        return "", 0

    with pytest.raises(SpecError, match=r'^an option is written key=value, got "1" in "none:1"; none takes none$'):
        files.resolve("none:1")


def test_a_nested_plugin_is_resolved_with_its_owner() -> None:
    boxes: Registry[float] = Registry("box")

    @boxes.register("plain")
    def plain(*, size: float = 2.0, lid: str = "oak") -> float:  # noqa: ARG001
        return size

    @boxes.register("bare")
    def bare() -> float:
        return 1.0

    @boxes.register("outer", nests=("holds",), shares=("size",))
    def outer(*, holds: tuple[str, ...] = ("plain",), size: float | None = None) -> float:
        inner = PluginSpec.of_parts(holds)
        return boxes.build(inner if size is None else PluginSpec(inner.name, (*inner.options, ("size", size))))

    found = boxes.resolve("outer")
    assert str(found) == "outer:holds=plain|lid=oak,size=2.0"
    assert boxes.resolve(str(found)) == boxes.resolve("outer:holds=plain|lid=oak") == boxes.resolve(found) == found
    assert boxes.nested(found) == [PluginSpec("plain", (("lid", "oak"),))]
    assert str(boxes.resolve("outer:size=3")) == "outer:holds=plain|lid=oak,size=3.0"
    assert str(boxes.resolve("outer:holds=bare")) == "outer:holds=bare,size=none"
    assert str(boxes.resolve("outer:holds=plain|size=4")) == "outer:holds=plain|size=4,size=none"
    assert (boxes.build("outer:size=3"), boxes.build("outer:holds=bare")) == (3.0, 1.0)
    with pytest.raises(UnknownNameError, match='box plain has no option "lit"; did you mean "lid"'):
        boxes.resolve("outer:holds=plain|lit=1")


def test_an_optional_value_may_be_none_or_its_type() -> None:
    assert SHAPES.resolve("circle:seed=None").get("seed") is None
    assert SHAPES.resolve("circle:seed=7").get("seed") == 7


def test_large_whole_numbers_stay_exact() -> None:
    assert SHAPES.resolve("circle:seed=9007199254740993").get("seed") == 9007199254740993


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ("points=1.5", "int"),
        ("points=x", "int"),
        ("points=", "int"),
        ("points=none", "int"),
        ("points=inf", "int"),
        ("points=nan", "int"),
        ("seed=1e999", "int"),
        ("radius=wide", "float"),
        ("radius=nan", "float"),
        ("filled=2", "bool"),
        ("filled=", "bool"),
    ],
)
def test_a_value_of_the_wrong_type_is_one_sentence(option: str, kind: str) -> None:
    key, _, value = option.partition("=")
    message = f'shape circle takes {key} as {kind}, got "{value}"'
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        SHAPES.resolve(f"circle:{option}")


def test_a_typed_value_of_the_wrong_type_is_refused_too() -> None:
    with pytest.raises(SpecError, match=r'^shape circle takes points as int, got "true"$'):
        SHAPES.resolve(PluginSpec("circle", (("points", True),)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cirle", 'there is no shape "cirle"; did you mean "circle"?'),
        ("zebra", 'there is no shape "zebra"; known are circle, dot, polygon, star'),
        ("circle:point=3", 'shape circle has no option "point"; did you mean "points"?'),
        ("circle:zz=3", 'shape circle has no option "zz"; known are colour, filled, marks, points, radius, seed'),
        (
            "circle:place=here",
            'shape circle has no option "place"; known are colour, filled, marks, points, radius, seed',
        ),
        ("dot:size=3", 'shape dot has no option "size"; it takes none'),
    ],
)
def test_an_unknown_name_or_option_names_the_nearest(text: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=f"^{re.escape(message)}$"):
        SHAPES.resolve(text)


def test_an_empty_registry_says_so() -> None:
    with pytest.raises(UnknownNameError, match=r'^there is no tool "saw"; none are known$'):
        Registry[Any]("tool").get("saw")


def test_an_option_without_default_must_be_given() -> None:
    with pytest.raises(SpecError, match=r"^shape polygon needs corners; write polygon:corners=\.\.\.$"):
        SHAPES.resolve("polygon")
    assert SHAPES.build("polygon:corners=5") == {"corners": 5}


def test_build_hands_over_arguments_and_options() -> None:
    built = SHAPES.build("circle:points=9,marks=a", "here")
    expected = {"points": 9, "radius": 1.0, "filled": False, "colour": "red", "marks": ("a",), "seed": None}
    assert built == {"place": "here"} | expected


def test_a_plugin_is_described_without_being_called() -> None:
    plugin = SHAPES.get("circle")
    assert (plugin.summary, plugin.version, plugin.facts) == ("A round one.", 3, {"closed": True})
    assert plugin.origin == f"{__name__}.circle"
    assert [(option.name, option.type) for option in plugin.options] == [
        ("points", "int"),
        ("radius", "float"),
        ("filled", "bool"),
        ("colour", "str"),
        ("marks", "tuple[str, ...]"),
        ("seed", "int | None"),
    ]
    assert [option.name for option in SHAPES.get("polygon").options if option.required] == ["corners"]
    assert not any(option.required for option in plugin.options)


def test_names_are_sorted() -> None:
    assert SHAPES.names() == ["circle", "dot", "polygon", "star"]


def test_a_name_claimed_twice_is_an_error_that_names_both() -> None:
    registry: Registry[dict[str, Any]] = Registry("shape")
    registry.register("dot")(dot)
    message = f'a shape has one name, "dot" is claimed by {__name__}.dot and {__name__}.polygon'
    with pytest.raises(DuplicateNameError, match=f"^{re.escape(message)}$"):
        registry.register("dot")(polygon)
    assert registry.get("dot").factory is dot


def test_a_module_that_is_loaded_again_may_register_again() -> None:
    registry: Registry[dict[str, Any]] = Registry("shape")
    for _ in range(2):
        registry.register("dot")(dot)
    assert registry.names() == ["dot"]


def test_an_option_of_an_unsupported_type_is_refused_when_registered() -> None:
    def blob(*, weights: list[float]) -> dict[str, Any]:
        return {"weights": weights}

    with pytest.raises(SpecError, match=r"^option weights of shape blob must be one of \[.*\], got list\[float\]$"):
        SHAPES.register("blob")(blob)
    assert "blob" not in SHAPES.names()


STAR = '''
from host import registry

@registry.register("{name}")
def star(*, points: int = 5, marks: tuple[str, ...] = (), seed: int | None = None):
    """A pointed one."""
    return points
'''


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of importable modules that register with `host.registry`."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "host", ModuleType("host"))
    yield tmp_path
    for name in ("star_one", "star_two", "stars", "stars.one", "stars.two"):
        sys.modules.pop(name, None)


def host(registry: Registry[Any]) -> Registry[Any]:
    sys.modules["host"].registry = registry  # type: ignore[attr-defined]
    return registry


def install(folder: Path, **modules: str) -> None:
    """A distribution whose entry points name modules that register a plug-in each."""
    info = folder / "stars_of_others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stars-of-others\nVersion: 1.0\n")
    lines = [f"entry{number} = {module}" for number, module in enumerate(modules)]
    (info / "entry_points.txt").write_text("\n".join(["[emc.tests.shapes]", *lines, ""]))
    for module, name in modules.items():
        (folder / f"{module}.py").write_text(STAR.format(name=name))


def test_entry_points_of_other_distributions_are_found(elsewhere: Path) -> None:
    install(elsewhere, star_one="star", star_two="comet")
    registry = host(Registry("shape", group="emc.tests.shapes"))
    assert registry.names() == ["comet", "star"]
    assert registry.get("star").origin == "star_one.star"
    assert registry.build("comet:points=7") == 7


def test_annotations_that_are_objects_read_as_those_that_are_text(elsewhere: Path) -> None:
    install(elsewhere, star_one="star")
    registry = host(Registry("shape", group="emc.tests.shapes"))
    assert [option.type for option in registry.get("star").options] == ["int", "tuple[str, ...]", "int | None"]


def test_two_distributions_that_claim_one_name_are_both_named(elsewhere: Path) -> None:
    install(elsewhere, star_one="star", star_two="star")
    registry = host(Registry("shape", group="emc.tests.shapes"))
    with pytest.raises(DuplicateNameError, match=r'"star" is claimed by star_(\w+)\.star and star_(?!\1)\w+\.star$'):
        registry.names()


def test_a_package_is_loaded_module_by_module_and_only_when_needed(elsewhere: Path) -> None:
    (elsewhere / "stars").mkdir()
    for module in ("__init__", "one", "two"):
        text = "" if module == "__init__" else STAR.format(name=module)
        (elsewhere / "stars" / f"{module}.py").write_text(text)
    registry = host(Registry("shape", "stars"))
    assert "stars.one" not in sys.modules
    assert registry.names() == ["one", "two"]


PLUGINS = [
    pytest.param(registry, plugin, id=f"{registry.kind} {plugin.name}")
    for registry in REGISTRIES
    for plugin in registry
]


@pytest.mark.parametrize(("registry", "plugin"), PLUGINS)
def test_every_default_is_of_its_declared_type_and_survives_its_text(
    registry: Registry[Any], plugin: Plugin[Any]
) -> None:
    given = tuple((option.name, "1") for option in plugin.options if option.required)
    spec = registry.resolve(PluginSpec(plugin.name, given))
    assert registry.resolve(str(spec)) == spec
    for option in plugin.options:
        added = option.name in plugin.facts.get("added", ())
        assert (option.name in dict(spec.options)) != added
        value = option.default if added else spec.get(option.name)
        kinds = {"int": int, "float": float, "bool": bool, "str": str, "tuple[str, ...]": tuple, "None": type(None)}
        assert type(value) in [kinds[kind] for kind in option.type.split(" | ")]


@pytest.mark.parametrize(("registry", "plugin"), PLUGINS)
def test_every_plugin_has_a_summary_and_refuses_an_unknown_option(registry: Registry[Any], plugin: Plugin[Any]) -> None:
    assert re.fullmatch(r"\S.*\.", plugin.summary)
    with pytest.raises(EmcError, match=rf'^{registry.kind} {plugin.name} has no option "no_such_thing"; [^\n]+$'):
        registry.resolve(f"{plugin.name}:no_such_thing=1")
