from __future__ import annotations

from studied import drawn, hollow, made, marks, spread, study_of, taken_of

from emc.results import Status

STUDY = study_of("budget")


def test_each_batch_size_is_a_line_over_the_budgets() -> None:
    taken = taken_of("budget")
    table = STUDY.table(taken)
    assert len(table) == len(taken.results)
    sizes = table.groupby("series")["batch_size"].unique()
    assert [list(sizes[name]) for name in ("batches of 64", "full batch")] == [[64], [2048]]
    budgets = table[table["series"] == "full batch"]["budget"]
    assert list(budgets) == sorted(set(budgets))
    axes = drawn(STUDY, table).axes[0]
    assert len(marks([axes])) == len(table)
    assert axes.get_xlabel() == "budget (optimizer steps a probe)"


def test_undertrained_ones_are_hollow() -> None:
    def short(_, cell):
        return made(cell, spread(60), Status.UNDERTRAINED if cell["min_steps"] <= 500 else Status.BRACKETED)

    table = STUDY.table(taken_of("budget", short))
    assert len(hollow(marks(drawn(STUDY, table).axes))) == (table["budget"] <= 500).sum() == 4
