"""`emc scale` as a user runs it."""

from __future__ import annotations

import json

from click.testing import CliRunner

from emc.cli.main import main


def test_the_table_names_the_members() -> None:
    found = CliRunner().invoke(main, ["scale", "mlp", "--parameters", "1e3:1e4:2"])
    assert found.exit_code == 0
    assert found.stdout.splitlines() == [
        "from mlp:width=16,depth=1 by recipe width (width 1), inputs 1x8x8, 10 classes",
        "asked   model                  parameters  ratio",
        "1,000   mlp:width=13,depth=1   985         0.985",
        "10,000  mlp:width=133,depth=1  9,985       0.9985",
    ]


def test_json_for_machines() -> None:
    line = "scale vit --recipe sovit --parameters 3000 --shape 3x32x32 --classes 10 --json"
    found = CliRunner().invoke(main, line.split())
    record = json.loads(found.stdout)
    assert record["exponents"] == {"width": 0.22, "depth": 0.45, "mlp": 0.6}
    assert len(record["members"]) == 1


def test_mistakes_are_one_sentence() -> None:
    found = CliRunner().invoke(main, ["scale", "mlp", "--parameters", "many"])
    assert found.exit_code == 2
    assert found.stderr.startswith("error: parameters are numbers from 1 to 1e+12")
