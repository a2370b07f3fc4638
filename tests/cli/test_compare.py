from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import emc
from emc import texts
from emc.errors import ComparisonError
from emc.results import EmcResult, Replicate, Status
from emc.stats.compare import Verdict

MakeResult = Callable[..., EmcResult]
Run = Callable[..., Result]
Mistake = Callable[..., str]

FACTS = {"rows": 1797, "repeats": 0, "conflicts": 0, "content_hash": "abc"}


@pytest.fixture
def sized(make_result: MakeResult) -> Callable[..., EmcResult]:
    """A result with these EMCs, the first `censored` of them undertrained."""

    def make(*lowers: int, censored: int = 0, status: Status = Status.UNDERTRAINED, **changes: Any) -> EmcResult:
        found = tuple(
            Replicate(i, n, n + 1, status if i < censored else Status.BRACKETED) for i, n in enumerate(lowers)
        )
        median = sorted(lowers)[(len(lowers) - 1) // 2]
        return replace(make_result(), **{"replicates": found, "emc": median, "dataset": FACTS, **changes})

    return make


Sized = Callable[..., EmcResult]
A, B = (210, 190, 205, 200, 220, 180), (100, 99, 101, 95, 105, 90)


@pytest.fixture
def files(sized: Sized, run: Run) -> None:  # noqa: ARG001
    """a.json and b.json in the folder that `run` works in."""
    texts.write_result(sized(*A), "a.json")
    texts.write_result(sized(*B), "b.json")


@pytest.mark.usefixtures("files")
def test_one_plain_sentence_comes_first(run: Run) -> None:
    outcome = run("compare", "a.json", "b.json")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    text = " ".join(outcome.stdout.split())
    assert text.startswith("conclusion a.json fits 2.049 times as many samples as b.json (96.88 % interval ")
    assert ", p 0.03125) ratio of EMCs 2.049 (Hodges-Lehmann on logarithms, a.json over b.json)" in text
    assert (
        "p-value 0.03125 (all 64 sign flips of the mean log ratio, two-sided; the smallest possible is 0.03125)" in text
    )
    assert "dominance 1 (a.json larger in 6, equal in 0, smaller in 0 of 6 pairs)" in text
    assert "pairing by replicate: the same samples, in the same order and with the same labels" in text
    assert "a.json EMC 200; replicates 210 190 205 200 220 180 (6 bracketed)" in text
    assert "censored" not in text


@pytest.mark.usefixtures("files")
def test_json_is_the_whole_comparison(run: Run) -> None:
    run("compare", "a.json", "b.json", "--json", "c.json")
    record = json.loads(Path("c.json").read_text())
    assert record == json.loads(run("compare", "a.json", "b.json", "--json", "-").stdout)
    assert record == emc.compare("a.json", "b.json").to_dict()
    (contrast,) = record["contrasts"]
    assert (contrast["verdict"], contrast["paired"], contrast["p_value"]) == ("larger", True, [0.03125, 0.03125])
    assert record["results"][1]["name"] == "b.json"
    assert "conclusion" in run("compare", "a.json", "b.json", "--json", "-").stderr


@pytest.mark.usefixtures("files")
def test_no_input_is_replaced(mistake: Mistake) -> None:
    before = Path("b.json").read_bytes()
    assert "no other file of the command" in mistake("compare", "a.json", "b.json", "--json", "./b.json")
    assert Path("b.json").read_bytes() == before


@pytest.mark.usefixtures("files")
def test_an_output_that_cannot_be_written_is_told_first(mistake: Mistake) -> None:
    assert mistake("compare", "a.json", "b.json", "--json", "no/c.json").startswith("an output file needs an existing")


@pytest.mark.usefixtures("files")
def test_the_confidence_moves_the_verdict(run: Run) -> None:
    text = " ".join(run("compare", "a.json", "b.json", "--confidence", "0.99").stdout.split())
    assert text.startswith("conclusion no difference is shown: a.json fits 2.049 times")
    assert "so few replicates can show none at 99 % confidence, raise --replicates" in text
    assert "96.88 %, the widest that so few replicates give" in text


@pytest.mark.usefixtures("files")
def test_several_are_compared_with_the_first(run: Run, sized: Sized) -> None:
    texts.write_result(sized(*A), "c.json")
    outcome = run("compare", "a.json", "b.json", "c.json", "--confidence", "0.9")
    text = " ".join(outcome.stdout.split())
    assert text.startswith("conclusion a.json fits 2.049 times as many samples as b.json (")
    assert "p 0.0625 after Holm's correction) no difference is shown: a.json fits 1 times" in text
    assert "against b.json larger" in text
    assert "against c.json not_shown" in text
    assert "after Holm 0.0625 (of 2 comparisons)" in text


def test_the_library_call_takes_results_and_paths(sized: Sized, tmp_path: Path) -> None:
    a, b = sized(*A), sized(*B)
    texts.write_result(b, tmp_path / "b.json")
    comparison = emc.compare(a, tmp_path / "b.json")
    assert comparison.contrasts == emc.compare(a, b).contrasts
    assert comparison.names == ("A", str(tmp_path / "b.json"))
    assert comparison.verdict is Verdict.LARGER
    assert comparison.ratio == pytest.approx(2.05, abs=0.01)
    assert comparison.p_value == 0.03125
    assert comparison.interval[0] < comparison.ratio < comparison.interval[1]
    assert str(comparison).startswith("conclusion")
    assert repr(comparison) == str(comparison)
    assert "A fits 2.049 times as many" in emc.compare(a, b)._repr_html_()


def pairing(a: EmcResult, b: EmcResult) -> tuple[bool, str]:
    comparison = emc.compare(a, b)
    return comparison.contrasts[0].paired, comparison.pairings[0]


def test_pairs_are_replicates_with_one_order(sized: Sized) -> None:
    a = sized(*A)
    labels = replace(sized(*B), task={**a.task, "labels": "semantic"})
    assert pairing(a, labels) == (
        True,
        "by replicate: the same rows in the same order, but random and semantic labels",
    )
    assert pairing(a, sized(*B, 90, 95)) == (
        True,
        "by replicate: the same samples, in the same order and with the same labels; "
        "2 replicates without a partner left out",
    )


def test_pairs_go_by_number_not_by_place(sized: Sized) -> None:
    a, b = sized(*A), sized(*A)
    b = replace(b, replicates=b.replicates[::-1])
    assert emc.compare(a, b).contrasts[0].counts == (0, 6, 0, 0)


def test_else_the_results_are_unpaired_and_said_so(sized: Sized) -> None:
    a = sized(*A)
    assert pairing(a, sized(*B, seed=1)) == (False, "unpaired, since the seeds differ (0 and 1)")
    other = {**FACTS, "content_hash": "abd"}
    assert pairing(a, sized(*B, dataset=other)) == (False, "unpaired, since the datasets differ")
    unknown = {"rows": 1797, "repeats": 0, "conflicts": 0}
    assert pairing(a, sized(*B, dataset=unknown))[1] == "unpaired, since a result does not know its dataset's content"
    newer = {**a.versions, "results": 2}
    assert pairing(a, sized(*B, versions=newer))[1] == "unpaired, since the results versions differ (None and 2)"
    apart = sized(*B)
    apart = replace(apart, replicates=tuple(replace(r, replicate=r.replicate + 5) for r in apart.replicates))
    assert pairing(a, apart)[1] == "unpaired, since 1 replicates have the same samples"
    assert "all 924 regroupings" in str(emc.compare(a, sized(*B, seed=1)))


def test_what_differs_is_listed(sized: Sized) -> None:
    a = sized(*A)
    b = replace(sized(*B), procedure={**a.procedure, "model": "mlp:width=8"}, search={**a.search, "tolerance": 0.5})
    assert dict(emc.compare(a, b).rows())["differ in"] == "model mlp:width=16 | mlp:width=8; tolerance 0.05 | 0.5"
    assert dict(emc.compare(a, a).rows())["differ in"] == "nothing"
    older = {name: value for name, value in a.procedure.items() if name not in ("clip_norm", "label_smoothing")}
    assert dict(emc.compare(a, replace(a, procedure=older)).rows())["differ in"] == "nothing"
    smoothed = replace(a, procedure={**a.procedure, "label_smoothing": 0.1})
    assert dict(emc.compare(replace(a, procedure=older), smoothed).rows())["differ in"] == "label_smoothing 0.0 | 0.1"


def test_censoring_that_decides_is_undecided(sized: Sized) -> None:
    comparison = emc.compare(sized(*A), sized(*B, censored=2))
    assert comparison.verdict is Verdict.UNDECIDED
    assert (comparison.ratio, comparison.p_value) == (None, None)
    rows = dict(comparison.rows())
    assert rows["conclusion"].startswith("undecided: depending on 2 censored replicates, A fits ")
    assert "emc show says of each result how its censoring ends" in rows["conclusion"]
    assert rows["censored"] == "2 of B, tried as small and as large as they may be, up to the pool's 1,797 rows"
    assert rows["dominance"].endswith("A larger in 4, equal in 0, smaller in 0 of 6 pairs, censored in 2)")
    json.loads(comparison.to_json())


def test_censoring_that_cannot_decide_is_not_undecided(sized: Sized) -> None:
    comparison = emc.compare(sized(*A, censored=6), sized(*B))
    assert comparison.verdict is Verdict.LARGER
    assert comparison.ratio is None
    assert comparison.p_value == 0.03125
    assert "A fits 2.049 to 18.15 times as many samples as B" in str(comparison)


def test_a_pool_that_was_fitted_bounds_nothing(sized: Sized) -> None:
    full = sized(*[1797] * 6, censored=6, status=Status.CENSORED_ABOVE)
    comparison = emc.compare(full, sized(*B, censored=1))
    assert comparison.verdict is Verdict.UNDECIDED
    assert "1 of B, tried as small and as large as they may be, up to infinity" in str(comparison)
    assert comparison.to_dict()["contrasts"][0]["ratio"][1] is None
    assert emc.compare(full, sized(*B)).verdict is Verdict.LARGER
    assert " or more times as many samples" in str(emc.compare(full, sized(*B)))
    assert emc.compare(full, full).verdict is Verdict.UNDECIDED


def test_not_even_one_sample_fitted(sized: Sized) -> None:
    none = sized(*[0] * 6, censored=6, status=Status.CENSORED_BELOW)
    comparison = emc.compare(sized(*B), none)
    assert comparison.verdict is Verdict.LARGER
    assert emc.compare(none, sized(*B)).verdict is Verdict.SMALLER
    assert emc.compare(none, none).verdict is Verdict.UNDECIDED


def test_different_estimands_are_refused(mistake: Mistake, sized: Sized) -> None:
    texts.write_result(sized(*A), "a.json")
    texts.write_result(sized(*A, estimand="n50, best of 2 inits"), "b.json")
    assert mistake("compare", "a.json", "b.json") == (
        'results compared must have one estimand, got "n50" in a.json and "n50, best of 2 inits" in b.json; '
        "measure both with the same --growth, --attempts and --criterion"
    )


def test_results_without_replicates_are_refused(mistake: Mistake, sized: Sized) -> None:
    error = "largest n of mean training error<=0.1"
    texts.write_result(sized(*A), "a.json")
    texts.write_result(sized(*A, estimand=error, replicates=()), "b.json")
    assert mistake("compare", "b.json", "b.json") == (
        f'results compared must have one EMC a replicate, got "{error}" in b.json, which has none; '
        "measure with --search bisection and --criterion fit or a loss"
    )
    stopped = replace(sized(*A, estimand=error), replicates=(), status=Status.INTERRUPTED)
    texts.write_result(stopped, "b.json")
    assert mistake("compare", "b.json", "a.json").startswith("only finished results can be compared, got the interru")


def test_interrupted_results_are_refused(mistake: Mistake, sized: Sized) -> None:
    texts.write_result(sized(*A), "a.json")
    texts.write_result(sized(*A, censored=1, status=Status.INTERRUPTED), "b.json")
    sentence = "only finished results can be compared, got the interrupted b.json; run it again"
    assert mistake("compare", "a.json", "b.json") == sentence


def test_one_replicate_is_refused(mistake: Mistake, sized: Sized) -> None:
    texts.write_result(sized(*A), "a.json")
    texts.write_result(sized(5), "b.json")
    sentence = "a comparison takes at least 2 replicates, got 1 in b.json; use --replicates 6"
    assert mistake("compare", "a.json", "b.json") == sentence


@pytest.mark.usefixtures("files")
def test_usage_mistakes(mistake: Mistake) -> None:
    sentence = 'a comparison takes at least two results, got "a.json"; name another file written by emc measure --json'
    assert mistake("compare", "a.json") == sentence
    assert mistake("compare").startswith("missing argument")
    assert mistake("compare", "a.json", "nix.json").startswith('a result file must exist, got "nix.json"')
    range_sentence = "--confidence must be between 0.5 and 0.9999, got 95.0"
    assert mistake("compare", "a.json", "b.json", "--confidence", "95") == range_sentence


def test_the_library_says_the_same_of_results(sized: Sized) -> None:
    with pytest.raises(ComparisonError, match="at least 2 replicates, got 1 in B; use --replicates 6"):
        emc.compare(sized(*A), sized(5))


def test_a_result_without_replicates_is_refused(sized: Sized) -> None:
    whole = sized(*A)
    search = {**whole.search, "search": "threshold:width=1.1"}
    posterior = replace(whole, replicates=(), search=search)
    sentence = 'must have one EMC a replicate, got "n50" in B, which has none; measure with --search bisection'
    with pytest.raises(ComparisonError, match=sentence):
        emc.compare(whole, posterior)
    with pytest.raises(ComparisonError, match="only finished results can be compared, got the interrupted A"):
        emc.compare(replace(posterior, status=Status.INTERRUPTED), whole)
