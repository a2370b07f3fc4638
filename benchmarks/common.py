"""What every check and benchmark prints beside its numbers, and ways to train a list of probes."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click
import torch

from emc.api import Prepared, prepare
from emc.executors.cores import num_cores
from emc.executors.inline import InlineExecutor
from emc.results import ProbeResult
from emc.search.fixed import FixedSizes
from emc.session import versions
from emc.specs import Execution, Measurement, Probe

T = TypeVar("T")

RESULTS = Path(__file__).parent / "results"

#: Where a benchmark writes its JSON: beside the README where it ran in full, else nowhere unless told.
json_option = click.option("--json", "json_path", type=click.Path(path_type=Path), help="JSON file [default: results/]")
quick_option = click.option("--quick", is_flag=True, help="in minutes, writes no JSON unless told where")


def describe_machine() -> str:
    """Processor, cores and versions in one line."""
    facts = machine()
    parts = ", ".join(f"{key} {value}" for key, value in facts.items() if key not in ("processor", "cores"))
    return f"# {facts['processor']}, {facts['cores']} cores; {parts}"


def machine() -> dict[str, Any]:
    """Processor, cores, device and versions."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"processor": _processor(), "cores": num_cores(), "device": device, **versions()}


def _processor() -> str:
    """The model that Linux names; the architecture where it names none."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some runs."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of at least one value."""
        held = list(values)
        return cls(statistics.median(held), min(held), max(held))

    def __str__(self) -> str:
        return f"{_text(self.median)} ({_text(self.min)} to {_text(self.max)})"


class Report:
    """Tables of one benchmark, printed as they come, and kept together in one JSON file.

    Args:
        name: of the benchmark.
        path: of the JSON; without one `results/NAME.json`, and none where `quick` or `partial`.
        quick: whether the numbers are a quick look only.
        partial: whether some cases or trainers were left out.
    """

    def __init__(self, name: str, path: Path | None = None, quick: bool = False, partial: bool = False) -> None:
        self._path = path if path is not None or quick or partial else RESULTS / f"{name}.json"
        self._record: dict[str, Any] = {"benchmark": name, "quick": quick, "machine": machine(), "tables": {}}
        print(describe_machine(), flush=True)

    def table(self, title: str, rows: Sequence[dict[str, Any]]) -> None:
        """Print rows of equal keys as a Markdown table, and write what there is by now."""
        print(f"\n{title}\n")
        if rows:
            print("| " + " | ".join(rows[0]) + " |")
            print("|" + "---|" * len(rows[0]))
        for row in rows:
            print("| " + " | ".join(_text(value) for value in row.values()) + " |")
        print(flush=True)
        self._record["tables"][title] = [{key: _plain(value) for key, value in row.items()} for row in rows]
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self._record, indent=1, allow_nan=False) + "\n")


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _plain(value: Any) -> Any:
    """The value for a JSON file, numbers to five digits."""
    if isinstance(value, Spread):
        return {key: _plain(number) for key, number in asdict(value).items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value


def paired(functions: dict[str, Callable[[int], T]], runs: int) -> dict[str, list[T]]:
    """What each function returned in each run, told the run's number: A, B, C, then A, B, C again."""
    found: dict[str, list[T]] = {name: [] for name in functions}
    for run in range(runs):
        for name, function in functions.items():
            found[name].append(function(run))
    return found


def prepared(trainer: str = "auto", **settings: Any) -> Prepared:
    """A measurement from flat settings, ready to train."""
    return prepare(Measurement.from_flat(settings), execution=Execution(trainer=trainer, stack=512))


def train(ready: Prepared, probes: Iterable[Probe]) -> tuple[list[ProbeResult], float]:
    """Train probes to their verdicts, in the order of the probes; with the seconds it took."""
    wanted = list(probes)
    found: dict[str, ProbeResult] = {}
    with closing(InlineExecutor(ready.setup, ready.execution)) as executor:
        for probe in wanted:
            executor.add(probe)
        started = time.perf_counter()
        while len(found) < len(wanted):
            found |= {result.key: result for result in executor.advance()}
    return [found[probe.key] for probe in wanted], time.perf_counter() - started


def train_sizes(ready: Prepared, sizes: Sequence[int], replicates: int) -> tuple[list[ProbeResult], float]:
    """Train every size of every replicate as a measurement would, by its engine; by replicate and size."""
    searches = [FixedSizes(sizes, replicate) for replicate in range(replicates)]
    started = time.perf_counter()
    ready.drive(searches)
    seconds = time.perf_counter() - started
    return [result for search in searches for result in search.results()], seconds


def trainers() -> list[str]:
    """Names of the trainers that can be asked for."""
    return [name for name in Execution.__dataclass_fields__["trainer"].metadata["choices"] if name != "auto"]


def as_single(ready: Prepared) -> Prepared:
    """The same measurement, one training at a time."""
    return replace(ready, execution=Execution(trainer="single"))


def use_one_thread() -> None:
    """Tiny products lose tenfold when two threads spin on shared cores."""
    torch.set_num_threads(1)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """A number of PyTorch's threads, then the one before again."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def synchronise() -> None:
    """Wait for a GPU's queue, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
