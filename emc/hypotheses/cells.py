"""Finding results that are equal in everything but what a claim is about."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from statistics import fmean
from typing import Any, TypeVar

from emc.data import DATA
from emc.errors import EmcError
from emc.hypotheses.parts import LEARNED, SAME_SIZE, Measured
from emc.models import MODELS
from emc.models.axes import Axis
from emc.registry import PluginSpec, read_value
from emc.results import EmcResult, Status
from emc.specs import later_settings

M = TypeVar("M", bound=Measured)
Match = Callable[[EmcResult], bool]
Pair = tuple[EmcResult, EmcResult]

#: Of a search, what says only where it looked.
WHERE = ("n_start", "n_max")

#: What differs with the dataset.
DATASET = ("data", "dataset content", "duplicates")

#: What differs with the family of the model; an activation that is its model's own is equal to any other such.
FAMILY = ("model",)

#: Options of models that regularise: never part of a model's size or family, and nothing where they are 0.
REGULARISERS = ("dropout", "stochastic_depth")

#: Widths that no recipe scales.
ALSO_WIDTH = ("hidden",)

#: What a net is and what it is trained on, of any training: results that share it are variants of one cell.
SUBJECT = (
    "data", "labels", "inputs", "classes", "model", "activation", "reparam", "train", "command",
    "program content",
)  # fmt: skip

#: What makes the budget of a training.
BUDGET = ("min_steps", "max_epochs")

#: What may differ between trainings that each have their own rate, batch size and budget.
OWN_TRAINING = ("optimizer", "batch_size", "tune", *BUDGET)


@cache
def plugin(text: str | None) -> PluginSpec:
    """A recorded plug-in; of a user's own file or program the whole text is the name."""
    if text is None:
        return PluginSpec("none")
    try:
        return PluginSpec.parse(text)
    except EmcError:
        return PluginSpec(text)


def name(result: Measured, setting: str) -> str:
    """The name of the plug-in that a setting of task or procedure holds."""
    found = result.task.get(setting, result.procedure.get(setting))
    return plugin(found).name


def option(result: Measured, setting: str, key: str) -> Any:
    """An option of that plug-in; None where it has none such."""
    text = result.task.get(setting, result.procedure.get(setting))
    value = dict(plugin(text).options).get(key)
    return read_value(value) if isinstance(value, str) else value


def facts(result: Measured) -> dict[str, Any]:
    """What the registry knows of the model; nothing of a user's own."""
    try:
        return dict(MODELS.get(name(result, "model")).facts)
    except EmcError:
        return {}


def activation(result: Measured) -> str:
    """The activation's name; "default" for what its model has where none is named."""
    given, own = name(result, "activation"), facts(result).get("activation")
    return "default" if given in ("none", "relu" if own is True else own) else given


def is_net(result: EmcResult) -> bool:
    """Whether the model has hidden layers that are not linear."""
    return bool(facts(result).get("activation")) and name(result, "activation") != "identity"


def is_plain(result: EmcResult) -> bool:
    """Whether the inputs are the dataset's own and all parameters are trained as they are."""
    return name(result, "inputs") == "natural" and result.procedure.get("reparam") is None


def labelled(labels: str) -> Match:
    """Whether the labels are these, on natural inputs."""
    return lambda result: name(result, "labels") == labels and is_plain(result)


def settings(result: Measured) -> dict[str, str]:
    """All that makes a result what it is but where its search looked, plug-ins with each option by itself."""
    procedure = {**result.procedure, **later_settings(result.procedure)}
    procedure["program content"] = procedure.pop("content")
    procedure["activation"] = activation(result)
    found: dict[str, Any] = {}
    search = result.search if isinstance(result, EmcResult) else {}
    for key, value in {**result.task, **procedure, **search}.items():
        if key in WHERE:
            continue
        held = plugin(value) if isinstance(value, str) else None
        found[key] = value if held is None else held.name
        found |= {f"{key}.{part}": text for part, text in held.options} if held is not None else {}
    found |= {
        "seed": result.seed,
        "estimand": result.estimand if isinstance(result, EmcResult) else "curve",
        "results version": result.versions.get("results"),
        "device": result.versions.get("device"),
        "dataset content": result.dataset.get("content_hash"),
    }
    for key in REGULARISERS:
        if not option(result, "model", key):
            found.pop(f"model.{key}", None)
    if name(result, "optimizer") == "adamw" and not option(result, "optimizer", "weight_decay"):
        found["optimizer"] = "adam"  # which it is without decay
    if result.tuning is not None:
        sizes = {trial["candidate"]["batch_size"] for trial in result.tuning["trials"]}
        found |= {"optimizer.lr": "tuned", "tune": result.tuning["tuner"]}
        found |= {"batch_size": "tuned"} if len(sizes) > 1 else {}
    return {key: str(value) for key, value in found.items() if value is not None}


def groups(results: Iterable[M], ignore: Collection[str]) -> list[list[M]]:
    """Results put together that are equal in all settings but those ignored, options included.

    Args:
        results: of a journal.
        ignore: names of settings; "model" stands for "model.width" too, but for no regulariser; "model." for its
            options of size only, "=model" for its name only.
    """
    found: dict[tuple[tuple[str, str], ...], list[M]] = {}
    for result in results:
        sizes = _sizes(result) if "model." in ignore else set()
        kept = [(k, v) for k, v in settings(result).items() if k not in sizes and not _ignored(k, ignore)]
        found.setdefault(tuple(sorted(kept)), []).append(result)
    return list(found.values())


def _ignored(key: str, ignore: Collection[str]) -> bool:
    whole, dot, option = key.partition(".")
    if not dot:
        return key in ignore or f"={key}" in ignore
    return key in ignore or (whole in ignore and (whole != "model" or option not in REGULARISERS))


def _sizes(result: Measured) -> set[str]:
    """Settings that hold the model's size: the dimensions of its family, and what they are multiples of."""
    held = axes(result)
    return {f"model.{key}" for key in (*ALSO_WIDTH, *(a.option for a in held), *(str(a.step) for a in held))}


def pairs(
    results: Iterable[EmcResult],
    ignore: Collection[str],
    first: Match,
    second: Match,
    *,
    sized: bool = False,
    loose: Collection[str] = (),
) -> list[Pair]:
    """All pairs of a result that meets `first` and one that meets `second`, equal in all that is not ignored.

    Args:
        results: of a journal.
        ignore: as for `groups`.
        first, second: conditions.
        sized: whether the two have to have the same number of parameters too, within `SAME_SIZE`.
        loose: settings ignored too where there is no pair otherwise; the claim's sentence tells what pairs differ in.
    """
    results = list(results)
    found = [
        (a, b)
        for group in groups(results, ignore)
        for a in filter(first, group)
        for b in filter(second, group)
        if a is not b and (not sized or same_size(a, b))
    ]
    return found or (pairs(results, (*ignore, *loose), first, second, sized=sized) if loose else [])


def same_size(a: EmcResult, b: EmcResult) -> bool:
    """Whether the numbers of parameters agree within `SAME_SIZE`."""
    if not a.parameters or not b.parameters:
        return False
    return max(a.parameters, b.parameters) <= SAME_SIZE * min(a.parameters, b.parameters)


def clusters(results: Iterable[EmcResult]) -> list[list[EmcResult]]:
    """Results by their parameters, ascending, cut wherever one is more than `SAME_SIZE` above the smallest before."""
    found: list[list[EmcResult]] = []
    for result in sorted((r for r in results if r.parameters), key=lambda r: r.parameters or 0):
        if found and same_size(found[-1][0], result):
            found[-1].append(result)
        else:
            found.append([result])
    return found


def axes(result: Measured) -> Sequence[Axis]:
    """The dimensions of the model's family; none of a user's own."""
    found: Sequence[Axis] = facts(result).get("axes", ())
    return found


def dimensions(result: EmcResult, role: str) -> float | None:
    """How wide or deep a model is, by the options that its family says are its width or depth."""
    roles = (role, *_ALSO.get(role, ()))
    values = [option(result, "model", axis.option) for axis in axes(result) if axis.role in roles]
    return math.prod(map(_count, values)) if values and None not in values else None


#: Blocks of stages that follow published layouts are a depth too.
_ALSO = {"depth": ("stages",)}


def _count(value: Any) -> float:
    return float(sum(map(int, value.split("|")))) if isinstance(value, str) else float(value)


def pool_bound(result: EmcResult) -> bool:
    """Whether the EMC is only known to be as large as the pool, which then says nothing of how EMC grows."""
    return result.censored and result.status is Status.CENSORED_ABOVE


def accuracy(result: EmcResult) -> float | None:
    """Mean test accuracy of the replicates that have one; None where none has."""
    known = [value for value in result.test_accuracy if value is not None]
    return fmean(known) if known else None


def num_classes(result: EmcResult) -> int:
    """The K asked for, or the dataset's own."""
    asked, own = result.task.get("classes"), result.dataset.get("classes")
    return int(asked or (own if isinstance(own, int) else len(own or ()) or 1))


def learned(result: EmcResult) -> bool | None:
    """Whether the model tells the dataset's own classes of new samples better than chance, by `LEARNED`.

    Chance is one class in K; that of classes of unequal size is more, which is not known here. None where no labels of
    the dataset are learned from its inputs, and without a test split.
    """
    if name(result, "labels") != "semantic" or name(result, "inputs") == "gaussian":
        return None
    tested, chance = accuracy(result), 1 / num_classes(result)
    return None if tested is None or chance == 1 else (tested - chance) / (1 - chance) >= LEARNED


def unlearned(results: Iterable[EmcResult]) -> bool:
    """Whether, of the results for which it is known, none learned any structure."""
    known = [found for found in map(learned, results) if found is not None]
    return bool(known) and not any(known)


def subject(result: EmcResult) -> tuple[Any, ...]:
    """What was trained on what, whatever the training, what regularises it, and the rows held out."""
    held = {k: v for k, v in settings(result).items() if k.partition(".")[0] in SUBJECT}
    kept = {k: v for k, v in held.items() if k.removeprefix("model.") not in REGULARISERS}
    registered = name(result, "data") in DATA.names()
    own = "" if registered else str(result.dataset["content_hash"])  # arrays are all named alike
    return (result.parameters, own, *sorted(kept.items()))


def usable(results: Iterable[EmcResult]) -> tuple[list[EmcResult], dict[str, int]]:
    """Results that claims can be tested with, and why others were left out, with how many.

    Of results with equal settings the one of most replicates stays, the latest of those. All have the estimand that
    most have: others are different quantities.
    """
    left_out: Counter[str] = Counter()
    kept: dict[tuple[tuple[str, str], ...], EmcResult] = {}
    for result in results:
        reason = _why_not(result)
        if reason:
            left_out[reason] += 1
            continue
        key = tuple(sorted(settings(result).items()))
        before = kept.get(key)
        left_out["has a twin of equal settings with as many replicates or more"] += before is not None
        if before is None or len(result.replicates) >= len(before.replicates):
            kept[key] = result
    estimands = Counter(result.estimand for result in kept.values()).most_common(1)
    found = [result for result in kept.values() if result.estimand == estimands[0][0]]
    left_out["has another estimand than most"] += len(kept) - len(found)
    return found, {reason: count for reason, count in left_out.items() if count}


def _why_not(result: EmcResult) -> str:
    if Status.INTERRUPTED in (result.status, *(replicate.status for replicate in result.replicates)):
        return "was interrupted"
    if not result.replicates:
        return "has no EMC of single replicates"
    return "" if result.dataset.get("content_hash") else "does not know its dataset's content"
