from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from emc.cli.kinds import KINDS, Kind, kind_of_setting
from emc.registry import format_value
from emc.specs import option_name

Run = Callable[..., Result]
Mistake = Callable[..., str]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_plugin_and_option_is_listed(run: Run, kind: Kind) -> None:
    text = run("list", kind.name).stdout
    flowed = " ".join(text.split())
    assert text.startswith(f"{kind.name} ({option_name(kind.setting)} NAME")
    assert kind.plugins()
    for plugin in kind.plugins():
        assert f"\n  {plugin.name} " in text
        assert " ".join(plugin.summary.split()) in flowed
        for option in plugin.options:
            ending = "(required)" if option.required else f"= {format_value(option.default)}"
            assert any(
                line.strip().startswith(f"{option.name}: ") and line.rstrip().endswith(ending.rstrip())
                for line in text.splitlines()
            )


def test_all_kinds_are_listed(run: Run) -> None:
    text = run("list").stdout
    assert text == "\n".join(run("list", kind.name).stdout + "" for kind in KINDS)


def test_a_kind_may_be_named_as_its_option(run: Run) -> None:
    assert run("list", "model").stdout == run("list", "models").stdout


def test_json_is_the_whole_registry(run: Run) -> None:
    entries = json.loads(run("list", "--json").stdout)
    expected = [(kind.name, plugin.name) for kind in KINDS for plugin in kind.plugins()]
    assert [(entry["kind"], entry["name"]) for entry in entries] == expected
    linear = next(entry for entry in entries if (entry["kind"], entry["name"]) == ("growth", "linear"))
    assert linear["options"] == [{"name": "step", "type": "int", "required": False, "default": 16}]


def test_required_options_are_marked_in_json(run: Run) -> None:
    entries = json.loads(run("list", "data", "--json").stdout)
    csv = next(entry for entry in entries if entry["name"] == "csv")
    required = {option["name"] for option in csv["options"] if option["required"]}
    assert required == {
        option.name for option in kind_of_setting("data").registry().get("csv").options if option.required
    }
    assert "path" in required


def test_an_unknown_kind(mistake: Mistake) -> None:
    assert mistake("list", "modles") == 'there is no kind of plug-in "modles" to list; did you mean "models"?'


def test_optimizers_say_that_their_rate_can_be_tuned(run: Run) -> None:
    head = run("list", "optimizers").stdout.splitlines()[0]
    assert head == "optimizers (--optimizer NAME or NAME:key=value,key=value); lr=auto has the rate tuned (--tune)"
