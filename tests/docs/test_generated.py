"""What the site generates: the gallery of figures/, each picture with its caption, and the help of every command."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from doc_pages import ROOT
from mkdocs.exceptions import PluginError

from emc.cli.main import COMMANDS, main


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def told(caption: str, title: str = "A study") -> dict[str, str]:
    return {"title": title, "caption": caption}


def draw(figures: Path, scale: str, captions: object, *stems: str) -> None:
    (figures / scale).mkdir(parents=True)
    (figures / scale / "captions.json").write_text(json.dumps(captions))
    for stem in stems:
        (figures / scale / f"{stem}.png").write_bytes(b"")


def test_without_pictures_it_says_what_draws_them(hooks: ModuleType, tmp_path: Path) -> None:
    text = hooks.gallery(tmp_path)
    for scale in ("smoke", "cpu", "gpu", "paper"):
        assert f"make figures SCALE={scale}" in text


def test_pictures_come_in_the_order_of_their_captions(hooks: ModuleType, tmp_path: Path) -> None:
    draw(
        tmp_path,
        "cpu",
        {"labels": told("Random below semantic.", "What of labels?"), "activations": told("ReLU.")},
        "activations",
        "labels",
    )
    (tmp_path / "cpu" / "claims.md").write_text("| claim | verdict |")
    text = hooks.gallery(tmp_path)
    assert text.index("figures/cpu/labels.png") < text.index("Random below semantic.") < text.index("activations.png")
    assert text.index("activations.png") < text.index("| claim | verdict |")
    assert "### What of labels?" in text
    assert "    make figures SCALE=cpu" not in text
    assert "    make figures SCALE=gpu" in text


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        ({}, "got labels alone"),
        ({"labels": told("x"), "gone": told("y")}, "got gone alone"),
        ({"labels": "x"}, "maps a picture's name"),
        (["labels"], "maps a picture's name"),
    ],
)
def test_pictures_and_captions_must_agree(captions: object, message: str, hooks: ModuleType, tmp_path: Path) -> None:
    draw(tmp_path, "cpu", captions, "labels")
    with pytest.raises(PluginError, match=message):
        hooks.gallery(tmp_path)


def test_pictures_without_captions_are_refused(hooks: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "labels.png").write_bytes(b"")
    with pytest.raises(PluginError, match="pictures have captions in"):
        hooks.gallery(tmp_path)


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS), ["journal", "check"]], ids=" ".join)
def test_the_help_of_every_command_is_shown_as_it_is_printed(words: list[str], hooks: ModuleType) -> None:
    printed = CliRunner().invoke(main, [*words, "--help"], prog_name="emc", terminal_width=100)
    assert f"## {' '.join(['emc', *words])}\n\n```text\n{printed.stdout}```" in hooks.command_help()
