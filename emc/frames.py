"""A journal as a pandas frame, one row a measurement or a probe, read line by line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from itertools import islice
from typing import TYPE_CHECKING, Any

from emc.errors import SpecError, did_you_mean
from emc.journal import read
from emc.journal.records import is_number
from emc.registry import PluginSpec
from emc.results import FAILED_KIND, MEASUREMENT_KIND, Evidence, ProbeResult, Verdict
from emc.specs import flat_settings

if TYPE_CHECKING:
    import pandas as pd

#: What `load` can give.
WHATS = ("measurements", "probes")

#: Probes read before they are packed into columns.
CHUNK = 50_000

#: Columns of a measurement, beside its settings.
MEASUREMENT_COLUMNS = {
    "fingerprint": "identity of the measurement",
    "state": "done, censored (emc is a lower bound), or failed (a training came to no verdict)",
    "emc": "samples; effective model complexity, or its lower bound where censored",
    "censored": "whether the EMC is at least emc only",
    "status": "how the search ended (docs/reading-results.md)",
    "lower": "samples; lower end of the bracket or interval",
    "upper": "samples; upper end; missing where censored",
    "interval_low": "samples; lower end of the confidence interval of n50; missing where there is none",
    "interval_high": "samples; its upper end",
    "interval_method": "how the interval was made, or why there is none",
    "estimand": "what the number estimates; only equal ones may be compared",
    "parameters": "numbers that the optimizer changes; missing for a training that emc cannot look into",
    "stored": "numbers of the network that is evaluated, but those that are always zero; missing in earlier records",
    "bits": "bits that store what was trained, what is drawn from the seed being free; missing where not known",
    "emc_per_parameter": "samples a parameter",
    "bits_per_parameter": "bits a parameter: emc * log2(classes) / parameters; random labels only",
    "bits_per_bit": "label bits a stored bit: emc * log2(classes) / bits; random labels only",
    "test_accuracy": "share from 0 to 1; mean over replicates; missing without a test split",
    "evidence": "kinds of evidence that decided replicates; see emc show",
    "probes": "probes that the result uses",
    "steps": "optimizer steps of those probes",
    "sample_steps": "samples seen in those steps",
    "seconds": "seconds that those probes took, each by itself",
    "tuner": "what chose the learning rate; missing where it was named",
    "match_parameters": "parameters that the model was sought by; missing where it was named",
    "dataset": "name of what was loaded",
    "rows": "samples in the pool",
    "content_hash": "identity of the pool's content",
    "device": "cpu or cuda",
    "trainer": "what trained",
    "emc_version": "version of emc",
    "torch_version": "version of PyTorch",
    "results_version": "results of other versions are never mixed",
    "error": "why it failed; missing where it did not",
}

#: Those that a record has by the same name.
_AS_RECORDED = (
    "fingerprint", "emc", "censored", "status", "lower", "upper", "interval_method", "estimand", "parameters",
    "emc_per_parameter", "bits_per_parameter",
)  # fmt: skip

#: Those that earlier records lack.
_ADDED = ("stored", "bits", "bits_per_bit")

#: Columns of a probe, beside the settings of its base.
PROBE_COLUMNS = {
    "key": "identity of the probe",
    "base": "identity of what it shares with the other probes of its measurement",
    "n": "samples it was trained on",
    "replicate": "number of the independent draw of samples, labels and init",
    "attempt": "number of the fresh init at the same samples",
    "verdict": "fitted, not_fitted, diverged or failed",
    "evidence": "why a failure is believed; missing for other verdicts",
    "correct": "samples of the n that were right at the last exact count",
    "accuracy": "share from 0 to 1: correct / n; missing where nothing was trained",
    "training_loss": "mean over the n samples at that count: nats (loss cross_entropy) or squared logits (squared)",
    "gradient_norm": "full-batch gradient norm relative to its value at init; missing where it was not examined",
    "test_accuracy": "share from 0 to 1 of the rows held out; missing without a test split",
    "flatness_largest": "largest eigenvalue of the training loss's Hessian at the end; missing without flatness",
    "flatness_trace": "its trace (standard error: emc show --probes); missing without flatness",
    "steps": "optimizer steps",
    "sample_steps": "samples seen in those steps",
    "seconds": "seconds charged to it",
}

#: Those that are in a probe's detail.
_OF_DETAIL = ("test_accuracy", "flatness_largest", "flatness_trace")

#: What a verdict's line may leave out.
_PROBE_DEFAULTS: dict[str, Any] = {
    each.name: each.default for each in fields(ProbeResult) if each.default is not MISSING
}

#: What either has of its settings.
SETTINGS_NOTE = (
    "every setting by name (emc measure --help), plug-ins with all their options written out, and each option by "
    "itself, as model.width"
)


def load(journal: str | os.PathLike[str], what: str = "measurements") -> pd.DataFrame:
    """What a journal holds, as a frame.

    `what="measurements"` gives one row a measurement, the latest of each fingerprint: identity and outcome
    (`MEASUREMENT_COLUMNS`), then its settings. `what="probes"` gives one row a probe, the latest of each key
    (`PROBE_COLUMNS`), then the settings that its base stands for; they are missing in journals of emc 0.1. In both,
    settings are columns by name, plug-ins as text with all options written out, and each option by itself, as
    `model.width`. Units: sizes are samples, times are seconds, losses nats or squared logits, accuracies shares from 0
    to 1; `emc results --list-columns` says each.

    The file is read line by line, so that only the frame itself takes memory.

    Raises:
        JournalError: it cannot be read, or is of a newer schema.
        SpecError: `what` is something else.
    """
    if what not in WHATS:
        raise SpecError(f'a journal gives {" or ".join(WHATS)}, got "{what}"; {did_you_mean(str(what), WHATS)}')
    return _measurements(journal) if what == "measurements" else _probes(journal)


def _measurements(journal: str | os.PathLike[str]) -> pd.DataFrame:
    import pandas as pd

    latest: dict[str, dict[str, Any]] = {}
    for record in read(journal, MEASUREMENT_KIND, FAILED_KIND):
        row = measurement_row(record) if record["kind"] == MEASUREMENT_KIND else _failed_row(record)
        latest.pop(record["fingerprint"], None)
        latest[record["fingerprint"]] = row
    names = dict.fromkeys(name for row in latest.values() for name in row if name not in MEASUREMENT_COLUMNS)
    return pd.DataFrame(list(latest.values()), columns=[*MEASUREMENT_COLUMNS, *_ordered(names)])


def measurement_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """One row of `load` from the record of a measurement."""
    numbers, facts, made = record["cost"], record["dataset"], record["versions"]
    ends = record["interval"] or (None, None)
    tested = [share for share in record["test_accuracy"] if share is not None]
    row = {name: record[name] for name in _AS_RECORDED} | {
        **{name: record.get(name) for name in _ADDED},
        "state": "censored" if record["censored"] else "done",
        "interval_low": ends[0],
        "interval_high": ends[1],
        "test_accuracy": sum(tested) / len(tested) if tested else None,
        "evidence": " ".join(f"{kind}:{count}" for kind, count in record.get("evidence", {}).items()),
        **{name: numbers[name] for name in ("probes", "steps", "sample_steps", "seconds")},
        "tuner": (record.get("tuning") or {}).get("tuner"),
        "match_parameters": (record.get("matched") or {}).get("asked"),
        "dataset": facts["name"],
        "rows": facts["rows"],
        "content_hash": facts["content_hash"],
        "device": made.get("device"),
        "trainer": made.get("trainer"),
        "emc_version": made.get("emc"),
        "torch_version": made.get("torch"),
        "results_version": made.get("results"),
    }
    replicates = {"replicates": len(record["replicates"]), "confidence": record["confidence"]}
    return (
        settings_by_name({**record["task"], **record["procedure"], **record["search"], "seed": record["seed"]})
        | row
        | replicates
    )


def _failed_row(record: Mapping[str, Any]) -> dict[str, Any]:
    row = {"fingerprint": record["fingerprint"], "state": "failed", "error": record["error"]}
    return settings_by_name(record["cell"]) | row


def settings_by_name(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, and the options of plug-ins by themselves, as `model.width`."""
    homes, found = flat_settings(), {}
    for name, value in values.items():
        found[name] = value
        kind = str(homes[name][1].type).removesuffix(" | None") if name in homes else ""
        if kind == "PluginSpec" and isinstance(value, str):
            found |= {f"{name}.{key}": _typed(str(text)) for key, text in PluginSpec.parse(value).options if key}
    return found


def _typed(text: str) -> bool | int | float | str | None:
    """An option's value, written out, as what it looks like."""
    if text in ("true", "false", "none"):
        return {"true": True, "false": False}.get(text)
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if is_number(number) else text  # no column has room for more
    return text


def _ordered(names: Iterable[str]) -> list[str]:
    """Settings in the order they are declared in, options behind their plug-in."""
    order = {name: place for place, name in enumerate(flat_settings())}
    return sorted(names, key=lambda name: (order.get(name.partition(".")[0], len(order)), name))


def _probes(journal: str | os.PathLike[str]) -> pd.DataFrame:
    import pandas as pd

    settings: dict[str, dict[str, Any]] = {}
    chunks = []
    rows = _probe_rows(journal, settings)
    while chunk := list(islice(rows, CHUNK)):
        chunks.append(pd.DataFrame(chunk, columns=list(PROBE_COLUMNS)).astype(_probe_types()))
    if not chunks:
        return pd.DataFrame(columns=list(PROBE_COLUMNS))
    frame = pd.concat(chunks, ignore_index=True)
    frame = frame.drop_duplicates("key", keep="last", ignore_index=True)
    return _joined(frame, settings)


def _probe_types() -> dict[str, Any]:
    """Types of the columns that do not depend on what is in them."""
    import pandas as pd

    whole = dict.fromkeys(("n", "replicate", "attempt", "correct", "steps", "sample_steps"), "int64")
    real = dict.fromkeys(("accuracy", "training_loss", "gradient_norm", "seconds", *_OF_DETAIL), "float64")
    verdicts, evidence = ([each.value for each in Verdict], [each.key for each in Evidence])
    return {**whole, **real, "verdict": pd.CategoricalDtype(verdicts), "evidence": pd.CategoricalDtype(evidence)}


def _probe_rows(journal: str | os.PathLike[str], settings: dict[str, dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """The probes as tuples of their columns; what bases stand for is put into `settings` on the way."""
    for record in read(journal, "probe", "base"):
        if record["kind"] == "base":
            shared = {**record["task"], **record["procedure"], "seed": record["seed"]}
            known = {
                "dataset": record["dataset"]["name"],
                "rows": record["dataset"]["rows"],
                "device": record["device"],
            }
            settings[record["base"]] = settings_by_name(shared) | known
            continue
        values = _PROBE_DEFAULTS | record
        values["accuracy"] = values["correct"] / values["n"] if values["steps"] > 0 else None
        values["training_loss"] = values["loss"]
        values |= _of_detail(values.get("detail"))
        yield tuple(values.get(name) for name in PROBE_COLUMNS)


def _of_detail(detail: Any) -> dict[str, float | None]:
    """What columns show of the numbers that only some probes record; None where they are of other types."""
    known = detail if isinstance(detail, Mapping) else {}
    right, rows = known.get("test_correct"), known.get("test_rows")
    flat = known.get("flatness")
    flat = flat if isinstance(flat, Mapping) else {}
    share = right / rows if isinstance(right, int) and isinstance(rows, int) and rows > 0 else None
    ends = [flat.get(name) for name in ("largest", "trace")]
    return dict(zip(_OF_DETAIL, [share, *(end if is_number(end) else None for end in ends)], strict=True))


def _joined(frame: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The probes with the settings of their bases, each distinct text held once."""
    import pandas as pd

    codes, bases = pd.factorize(frame["base"].fillna(""))
    known = pd.DataFrame([settings.get(base, {}) for base in bases])
    known = known.drop(columns=[name for name in known if name in PROBE_COLUMNS])
    facts = [name for name in ("dataset", "rows", "device") if name in known]
    known = known[[*facts, *_ordered(str(name) for name in known if name not in facts)]]
    for name in known:
        if pd.api.types.is_string_dtype(known[name]):
            known[name] = known[name].astype("category")
    joined = known.take(codes).reset_index(drop=True)
    return pd.concat([frame, joined], axis=1)
