"""`emc scale`: parse, one library call, print."""

from __future__ import annotations

import click

from emc.cli.completion import complete_plugin
from emc.cli.display import print_columns, say
from emc.cli.kinds import kind_of_setting


@click.command("scale")
@click.argument("family", shell_complete=lambda _c, _p, text: complete_plugin(kind_of_setting("model"), text))
@click.option("--parameters", required=True, metavar="N or FIRST:LAST:COUNT", help="sizes, as 1e4:1e6:9")
@click.option(
    "--recipe",
    metavar="NAME[:KEY=VALUE,...]",
    help="which dimensions grow together (emc list recipes) [default: width, or the family's only dimension]",
    shell_complete=lambda _c, _p, text: complete_plugin(kind_of_setting("match_recipe"), text),
)
@click.option("--data", metavar="NAME[:KEY=VALUE,...]", help="dataset it is for [default: digits]")
@click.option("--shape", metavar="CxHxW", help="of one input, instead of a dataset's; needs --classes")
@click.option("--classes", type=int, help="number of classes [default: the dataset's own]")
@click.option("--json", "as_json", is_flag=True, help="print JSON for machines")
def scale(
    family: str,
    parameters: str,
    recipe: str | None,
    data: str | None,
    shape: str | None,
    classes: int | None,
    as_json: bool,
) -> None:
    """Name the members of FAMILY that are nearest to numbers of parameters, along a scaling recipe.

    FAMILY is a model as --model takes it: the recipe starts from its options. Nothing is allocated or trained.

    \b
    emc scale mlp --parameters 1e4:1e6:9
    emc scale vit:patch=16,dim=384,depth=12,heads=6 --recipe sovit --parameters 1e7:1e8:3 --shape 3x224x224 --classes 10
    """
    from emc.scaling import scale as find

    found = find(family, parameters=parameters, recipe=recipe, data=data, shape=shape, classes=classes)
    if as_json:
        click.echo(found.to_json())
        return
    grown = ", ".join(f"{role} {exponent:.3g}" for role, exponent in found.exponents.items())
    shown = "x".join(map(str, found.shape))
    say(f"from {found.family} by recipe {found.recipe} ({grown}), inputs {shown}, {found.classes} classes")
    rows = [(f"{each.asked:,}", each.model, f"{each.parameters:,}", f"{each.ratio:.4g}") for each in found.members]
    print_columns(("asked", "model", "parameters", "ratio"), rows)
