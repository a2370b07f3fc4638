"""Measure, draw and table every study of a scale: `python -m figures --scale cpu`."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import emc
from emc.cli.main import report
from emc.errors import EmcError, JournalError, SpecError
from emc.files import check_outputs, replacing, write_text
from emc.journal import compact, read
from emc.recorded import read_recorded
from emc.sweeps import read_sweep
from figures import style
from figures.pools import FILES
from figures.scales import SCALES, Scale
from figures.study import Study, Taken, take

if TYPE_CHECKING:
    import pandas as pd

#: In the order they are measured: those that others share cells with first.
STUDIES = (
    "labels", "generalisation", "architectures", "scaling", "datasets", "classes", "activations", "power_laws", "steps",
    "curves", "budget", "protocol", "double_descent", "optimizers", "flatness", "regularisers", "reparameterisation",
)  # fmt: skip

HERE = Path(__file__).parent

#: A year; the operating system's clock counts no further than some centuries.
MOST_MINUTES = 366 * 24 * 60


class _Command(click.Command):
    """Ends with one sentence and exit code 2 on what a user can mend, as `emc` does."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (EmcError, OSError) as error:
            ctx.exit(report(error))


@click.command(cls=_Command)
@click.option("--scale", type=click.Choice(list(SCALES)), default="cpu", show_default=True)
@click.option("--study", "names", type=click.Choice(STUDIES), multiple=True, help="only these; default: all")
@click.option("--out", type=click.Path(path_type=Path), help="folder of journal, pictures and tables [figures/SCALE]")
@click.option("--journal", type=click.Path(path_type=Path), help="journal to add to [OUT/journal.jsonl]")
@click.option("--device", default="auto", show_default=True)
@click.option("--minutes", type=float, help="stop after so long; the same command continues")
@click.option(
    "--with-data",
    "data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=f"also the datasets in this folder: {', '.join(FILES)}; the scale paper has them by name",
)
@click.option("--draw-only", is_flag=True, help="draw what the journal holds; train nothing, load no data")
def main(
    scale: str,
    names: tuple[str, ...],
    out: Path | None,
    journal: Path | None,
    device: str,
    minutes: float | None,
    data: Path | None,
    draw_only: bool,
) -> None:
    """Measure the cells of studies into a journal, which are not trained anew if it holds them; then draw them."""
    size = SCALES[scale] if data is None else SCALES[scale].with_data()
    names = names or size.studies or STUDIES
    if data is not None and (lacks := [name for name in FILES if not (data / name).exists()]):
        files = ", ".join(FILES)
        raise SpecError(f"--with-data must name a folder with {files}, got none named {lacks[0]}; name another")
    if minutes is not None and not 0 < minutes <= MOST_MINUTES:
        raise SpecError(f"--minutes must be above 0 and at most {MOST_MINUTES:,}, got {minutes:g}; name fewer or none")
    folder = (out or HERE / scale).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    check_outputs([folder / "captions.json", folder / "README.md"], [journal])
    packed = folder / "journal.jsonl.gz"
    if draw_only:
        source = journal or (folder / "journal.jsonl" if (folder / "journal.jsonl").exists() else packed)
    else:
        source = (journal or folder / "journal.jsonl").absolute()
        with contextlib.chdir(data or "."):  # records name the datasets relative to their folder
            measure_all(names, size, source, packed, device, minutes, folder / "times.json")
    drawn = render_all(names, size, source, folder)
    if draw_only and not drawn:
        raise JournalError(
            f'--draw-only needs a journal that holds something of a study asked for, got "{source}"; '
            "leave it out to measure"
        )
    for name in names:
        if name not in drawn:
            print(f"{name}: nothing is measured yet that could be drawn", file=sys.stderr)
    if not draw_only:
        pack(source, packed)


def measure_all(
    names: Sequence[str],
    scale: Scale,
    journal: Path,
    packed: Path,
    device: str,
    minutes: float | None,
    times: Path,
) -> None:
    """Measure studies one after the other until all are done or one is interrupted; start from a packed journal."""
    if not journal.exists() and packed.exists():
        with gzip.open(packed) as source, journal.open("wb") as target:
            shutil.copyfileobj(source, target)
    if minutes is not None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    for name in names:
        if not measure(name, scale, journal, device, times):
            print(f"{name}: interrupted; the same command continues", file=sys.stderr)
            break
    signal.setitimer(signal.ITIMER_REAL, 0)


def render_all(names: Sequence[str], scale: Scale, journal: Path, folder: Path) -> list[str]:
    """Write the picture and the table of every study that the journal holds something of, and what they show.

    Returns:
        Names of these studies.
    """
    recorded = read_recorded(journal)
    known = folder / "captions.json"
    captions = json.loads(known.read_text()) if known.exists() else {}
    drawn = []
    for name in names:
        study = study_named(name)
        taken = take(study, scale, recorded)
        table = study.table(taken)
        if not render(study, taken, table, folder):
            continue
        parts = study.caption, study.tells(table), study.measured(taken), missing_text(taken)
        captions[name] = {"title": study.asks, "caption": " ".join(filter(None, parts))}
        drawn.append(name)
    if not drawn:
        return []
    captions = {name: captions[name] for name in STUDIES if name in captions}
    known.write_text(json.dumps(captions, indent=1) + "\n")
    times = folder / "times.json"
    told = json.loads(times.read_text()) if times.exists() else None
    (folder / "README.md").write_text(page(scale, captions, told))
    return drawn


def render(study: Study, taken: Taken, table: pd.DataFrame, folder: Path) -> bool:
    """Write PNG, PDF and CSV of one study's table; whether it had a row."""
    from matplotlib.figure import Figure

    if table.empty:
        return False
    write_text(folder / f"{study.name}.csv", table.to_csv(index=False, lineterminator="\n"))
    with style.applied():
        figure = Figure()
        study.draw(figure, table)
        if taken.missing:
            style.note(figure, missing_text(taken))
        style.save(figure, folder, study.name)
    return True


def missing_text(taken: Taken) -> str:
    """How many cells have no result; empty where all have one."""
    total = len(taken.results) + len(taken.curves) + len(taken.missing)
    return f"{len(taken.missing)} of {total} cells have no result." if taken.missing else ""


def page(scale: Scale, captions: Mapping[str, Mapping[str, str]], times: Mapping[str, Any] | None) -> str:
    """What lies in a folder, for its reader: the command, the machine, what each study took, pictures."""
    lines = [f"# The studies at scale `{scale.name}`", "", f"{scale.says[0].upper()}{scale.says[1:]}.", ""]
    lines += [
        f"Made by `make figures SCALE={scale.name}{' WITH_DATA=FOLDER' if scale.on_disk else ''}`; drawn again by "
        f"`python -m figures --scale {scale.name} --draw-only{' --with-data FOLDER' if scale.on_disk else ''}`.",
        "",
    ]
    if times is not None:
        lines += [
            ", ".join(f"{name} {value}" for name, value in times["machine"].items() if value is not None) + ".",
            "",
        ]
        lines += ["Processor seconds are those of the command and of its worker processes.", ""]
        lines += ["| study | seconds | processor seconds | probes trained |", "|---|---:|---:|---:|"]
        for name, took in times["studies"].items():
            lines.append(f"| {name} | {took['wall_s']:,.0f} | {took['processor_s']:,.0f} | {took['probes']:,.0f} |")
        lines.append("")
    for name, told in captions.items():
        lines += [f"## {told['title']}", "", f"![{name}]({name}.png)", "", told["caption"], ""]
        lines += [f"[{name}.pdf]({name}.pdf), [{name}.csv]({name}.csv)", ""]
    return "\n".join(lines)


def pack(journal: Path, packed: Path) -> None:
    """Keep a journal packed: the last line of each record only, and the same bytes for the same lines."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "journal.jsonl"
        shutil.copyfile(journal, copy)
        compact(copy)
        data = gzip.compress(copy.read_bytes(), mtime=0)
    with replacing(packed) as target:
        target.write_bytes(data)


def measure(name: str, scale: Scale, journal: Path, device: str, times: Path) -> bool:
    """Run what a study asks for; whether it came to its end."""
    study = study_named(name)
    started, processor, held = time.monotonic(), processor_seconds(), probes_of(journal)
    ended = _measure_sweeps(study, scale, journal, device) and _measure_curves(study, scale, journal, device)
    trained = probes_of(journal) - held
    took = {
        "wall_s": round(time.monotonic() - started, 1),
        "processor_s": round(processor_seconds() - processor, 1),
        "probes": trained,
    }
    if trained:
        note_time(times, name, took)
    print(f"{name}: {took['wall_s']:.0f} s, {trained} probes trained", flush=True)
    return ended


def _measure_sweeps(study: Study, scale: Scale, journal: Path, device: str) -> bool:
    for sweep in study.sweeps(scale):
        for numbers in _drives(sweep, scale):
            found = emc.sweep(sweep, journal=journal, device=device, cells=numbers)
            for failure in found.failures.values():
                print(f"{study.name}: {failure}", file=sys.stderr)
            if found.interrupted:
                return False
    return True


def _drives(sweep: Mapping[str, Any], scale: Scale) -> list[list[int] | None]:
    """Numbers of the cells that are driven together; None for all of them."""
    if not scale.apart:
        return [None]
    models: dict[str, list[int]] = {}
    for cell in read_sweep(sweep):
        models.setdefault(str(cell.settings.get("model")), []).append(cell.number)
    return list(models.values())


def _measure_curves(study: Study, scale: Scale, journal: Path, device: str) -> bool:
    for given in study.curves(scale):
        try:
            if emc.curve(**given, journal=journal, device=device).interrupted:
                return False
        except EmcError as error:  # as of a sweep's cell, the others go on
            print(f"{study.name}: {error}", file=sys.stderr)
    return True


def study_named(name: str) -> Study:
    """The study of a file."""
    study: Study = importlib.import_module(f"figures.{name}").STUDY
    return study


def probes_of(journal: Path) -> int:
    """How many verdicts a journal holds."""
    return sum(1 for _ in read(journal, "probe")) if journal.exists() else 0


def processor_seconds() -> float:
    """User and system seconds of this process and of its descendants: those that ended, and on Linux those that run.

    Workers are forked by a server, which runs on and has waited for those that ended.
    """
    total = sum(os.times()[:4])
    running = [os.getpid()]
    while running:
        found = _children(running.pop())
        total += sum(found.values())
        running += found
    return total


def _children(parent: int) -> dict[int, float]:
    """Seconds of the running children of a process, with those that each has waited for; none without /proc."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended meanwhile
            fields = path.read_text().rpartition(")")[2].split()  # from the state on: the parent, ..., four times
            if int(fields[1]) == parent:
                found[int(path.parent.name)] = sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return found


def note_time(path: Path, name: str, took: Mapping[str, float]) -> None:
    """Add what a study took to what its earlier pieces took."""
    known = json.loads(path.read_text()) if path.exists() else {"machine": machine(), "studies": {}}
    before = known["studies"].get(name, {})
    known["studies"][name] = {key: round(value + before.get(key, 0), 1) for key, value in took.items()}
    path.write_text(json.dumps(known, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """What the numbers were made on."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "emc": emc.__version__,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
