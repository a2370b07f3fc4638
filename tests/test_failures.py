"""The numbers of a failure in words."""

from __future__ import annotations

import pytest

from emc.failures import NUMBERS, OTHER, meanings, sections
from emc.results import Evidence, ProbeResult, Verdict


def failure(gradient_norm: float | None = None, **detail: object) -> ProbeResult:
    return ProbeResult(
        "key", 50, 0, 0, Verdict.NOT_FITTED, Evidence.SADDLE, 49, 0.5, gradient_norm, 100, 5000, detail=detail
    )


def rows(probe: ProbeResult) -> dict[str, str]:
    return dict(row for part in sections(probe).values() for row in part)


@pytest.mark.parametrize(
    ("key", "value", "label", "text"),
    [
        ("stop", "stalled", "stopped because", "a doubling of its steps gained nothing"),
        ("stop", "budget", "stopped because", "its budget was over"),
        ("budget", 25_000, "budget", "25,000 steps"),
        ("gain_of_last_doubling", 0.01234, "gain of the last doubling", "1.23 % of the loss"),
        ("gain_of_last_doubling", None, "gain of the last doubling", "not known"),
        ("dead_units", 0.125, "dead units", "12.5 %"),
        ("polish_gradient_norm", 1.234e-5, "gradient norm after it", "1.23e-05 of its value at init"),
        ("curvature_smallest", -0.25, "smallest eigenvalue", "-0.25"),
        ("escapes", [], "saddles left", "none"),
    ],
)
def test_a_number_has_words_and_units(key: str, value: object, label: str, text: str) -> None:
    assert rows(failure(**{key: value}))[label] == text


def test_escapes_are_told_one_by_one() -> None:
    escape = {"step": 1200, "length": -0.125, "loss_before": 0.5, "loss_after": 0.25}
    told = rows(failure(escapes=[escape, {**escape, "step": 2400}]))["saddles left"]
    assert told == (
        "at step 1,200 the loss went from 0.5 to 0.25 by a move of 0.125 of the weights' norm; "
        "at step 2,400 the loss went from 0.5 to 0.25 by a move of 0.125 of the weights' norm"
    )


def test_what_has_no_label_is_shown_last_by_its_key() -> None:
    parts = sections(failure(new_number=3, budget=10))
    assert list(parts) == ["training", OTHER]
    assert parts[OTHER] == [("new_number", "3")]


def test_only_what_occurs_is_explained() -> None:
    probes = [failure(budget=10), failure(0.5, polish_gain=0.1, mystery=1)]
    labels = [label for part in meanings(probes).values() for label, _ in part]
    assert labels == ["budget", "loss", "gradient norm", "gain"]


def test_within_a_heading_no_label_occurs_twice() -> None:
    names = [(number.group, number.label) for number in NUMBERS.values()]
    assert len(set(names)) == len(names)
    assert all(number.meaning for number in NUMBERS.values())
