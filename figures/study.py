"""What a study is: the cells it asks for, what a journal holds of them, and a picture of that."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from emc.curve_record import Curve
from emc.errors import EmcError
from emc.recorded import Recorded
from emc.registry import PluginSpec
from emc.resolve import resolve_names
from emc.results import EmcResult
from emc.specs import Measurement
from emc.sweeps import join_options, read_sweep
from figures.scales import Scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Cell = Mapping[str, Any]

#: More models than these are told by family.
MOST_MODELS = 12


@dataclass(frozen=True)
class Taken:
    """What a journal holds of a study's cells.

    Attributes:
        scale: of the study.
        results: each cell with its result, in the study's order.
        curves: each curve's settings with the curve.
        missing: cells and curves that the journal has no result of.
        recorded: all that the journal holds, for studies of other studies' cells.
    """

    scale: Scale
    results: tuple[tuple[Cell, EmcResult], ...]
    curves: tuple[tuple[Cell, Curve], ...]
    missing: tuple[Cell, ...]
    recorded: Recorded


@dataclass(frozen=True)
class Study:
    """One study.

    Attributes:
        name: of its files.
        asks: the question, in one line.
        sweeps: of a scale, as `emc.sweep` takes them.
        table: the numbers of the picture, one row a mark; exact.
        draw: the picture of a table that has rows.
        caption: what the picture shows, in one sentence or two.
        curves: of a scale, as `emc.curve` takes them.
        tells: of the table, what the caption adds to that.
        measured: what the results were measured with, likewise.
    """

    name: str
    asks: str
    sweeps: Callable[[Scale], Sequence[Mapping[str, Any]]]
    table: Callable[[Taken], pd.DataFrame]
    draw: Callable[[Figure, pd.DataFrame], None]
    caption: str
    curves: Callable[[Scale], Sequence[Cell]] = lambda _: ()
    tells: Callable[[pd.DataFrame], str] = lambda _: ""
    measured: Callable[[Taken], str] = lambda taken: settings_text(taken)


def cells(study: Study, scale: Scale) -> Iterator[Cell]:
    """The settings of every cell of a study's sweeps."""
    for sweep in study.sweeps(scale):
        for cell in read_sweep(sweep):
            yield cell.settings


def take(study: Study, scale: Scale, recorded: Recorded) -> Taken:
    """What a journal holds of a study."""
    by_identity = {_recorded_identity(recorded.cells[r.fingerprint]): r for r in recorded.results}
    by_settings = _alone(recorded.results)
    asked = list(cells(study, scale))
    found = [(cell, by_identity.get(identity(cell)) or by_settings.get(_settings_asked(cell))) for cell in asked]
    curves = {
        (_recorded_identity(recorded.cells[c.fingerprint]), tuple(sorted(p.n for p in c.points)), c.draws): c
        for c in recorded.curves
    }
    drawn = [(given, curves.get(curve_key(given))) for given in study.curves(scale)]
    return Taken(
        scale,
        tuple((cell, result) for cell, result in found if result is not None),
        tuple((given, curve) for given, curve in drawn if curve is not None),
        tuple(cell for cell, result in (*found, *drawn) if result is None),
        recorded,
    )


def settings_text(taken: Taken) -> str:
    """What the results of a study were measured with: data, models, labels, replicates, budgets, machine's kind."""
    known: list[EmcResult | Curve] = [result for _, result in taken.results]
    known += [curve for _, curve in taken.curves]
    if not known:
        return ""
    data = _several(f"{data_text(one.task['data'])} ({one.dataset['rows']:,} rows)" for one in known)
    counts = _several(str(len(result.replicates)) for _, result in taken.results)
    parts = (
        f"Data: {data}.",
        f"Models: {models_text([str(cell['model']) for cell, _ in (*taken.results, *taken.curves)])}.",
        f"Labels: {_several(_labels(one) for one in known)}.",
        f"Replicates: {counts}." if counts else "",
        f"Draws at each size of a curve: {_several(str(c.draws) for _, c in taken.curves)}." if taken.curves else "",
        f"Training: {training_text(known)}.",
    )
    return " ".join(filter(None, parts))


def data_text(data: str) -> str:
    """A dataset's name for a reader; of a file or folder, its path.

    >>> data_text("synthetic_images:count=4000,size=8")
    'synthetic images'
    >>> data_text("csv:path=adult.csv,target=Salary")
    'adult.csv'
    """
    spec = PluginSpec.parse(data)
    return str(dict(spec.options).get("path", spec.name.replace("_", " ")))


def models_text(names: Sequence[str]) -> str:
    """Every model; of more than a caption holds, how many of each family."""
    known = list(dict.fromkeys(names))
    if len(known) <= MOST_MODELS:
        return "; ".join(known)
    counts = Counter(name.partition(":")[0] for name in known)
    return ", ".join(f"{count} of {family}" for family, count in counts.items())


def _labels(one: EmcResult | Curve) -> str:
    """Kind of labels, the number of classes where it is not the dataset's own, and what was done to the inputs."""
    classes, inputs = one.task.get("classes"), str(one.task.get("inputs", "natural"))
    text = str(one.task["labels"]) + (f" of {classes} classes" if classes else "")
    return text + (f" on {inputs} inputs" if inputs != "natural" else "")


def training_text(known: Sequence[EmcResult | Curve]) -> str:
    """Of each optimizer, the batches and the least budgets that it was used with; the machine's kind."""
    used: dict[str, list[Mapping[str, Any]]] = {}
    for one in known:
        used.setdefault(one.procedure["optimizer"].partition(":")[0], []).append(one.procedure)
    texts = [
        f"{name}, batches of up to {_span(p['batch_size'] for p in procedures)} samples, budget of at least "
        f"{_span(p['min_steps'] for p in procedures)} steps a probe"
        for name, procedures in used.items()
    ]
    return f"{'; '.join(texts)}; {_several(_device(one) for one in known)}"


def _span(numbers: Iterable[int]) -> str:
    """One number, or two, or the smallest and the largest of more."""
    known = sorted(set(numbers))
    texts = [f"{number:,}" for number in known]
    return " or ".join(texts) if len(texts) < 3 else f"{texts[0]} to {texts[-1]}"


def _device(one: EmcResult | Curve) -> str:
    return str(one.versions.get("device"))


def _several(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def identity(cell: Cell) -> str:
    """A cell's measurement with every option written out: equal for cells that ask for the same in other words."""
    return _resolved(json.dumps(cell, sort_keys=True))


@cache
def _resolved(text: str) -> str:
    cell = join_options(json.loads(text))
    measurement = resolve_names(Measurement.from_flat(cell), own_model=False, own_data=False)
    return json.dumps(measurement.to_dict(), sort_keys=True)


def _alone(results: Iterable[EmcResult]) -> dict[str, EmcResult]:
    """Results by their settings, those left out that differ in nothing but sizes of the search."""
    found: dict[str, list[EmcResult]] = {}
    for r in results:
        found.setdefault(_settings(r.task, r.procedure, r.search, r.seed, len(r.replicates)), []).append(r)
    return {key: group[0] for key, group in found.items() if len(group) == 1}


def _settings_asked(cell: Cell) -> str:
    """What a result of the cell would say of itself, whose record may be in the words of another cell."""
    asked = json.loads(identity(cell))
    return _settings(*(asked[name] for name in ("task", "procedure", "search", "seed", "replicates")))


def _settings(task: Cell, procedure: Cell, search: Cell, seed: int, replicates: int) -> str:
    """A measurement by its settings but the sizes, which are the pool's where none are asked for."""
    sizeless = {name: value for name, value in search.items() if name not in ("n_start", "n_max")}
    return json.dumps([dict(task), dict(procedure), sizeless, seed, replicates], sort_keys=True)


def _recorded_identity(cell: Cell) -> str | None:
    """That of a journal's cell; None where no study can ask for it, as of a model of somebody's own file."""
    try:
        return identity(cell)
    except EmcError:
        return None


def curve_key(given: Cell) -> tuple[str, tuple[int, ...], int]:
    """What a curve is known by: its settings, sizes and draws."""
    settings = {name: value for name, value in given.items() if name not in ("sizes", "draws")}
    return identity(settings), tuple(sorted(given["sizes"])), given["draws"]
