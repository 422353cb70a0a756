"""Tuned recipes side by side: means and spreads by hand, runs that diverged named, files whole."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from tflbt.report.comparison import Tuned, comparison_table, write_comparison

NAN = math.nan


def tuned(name, results, objective="val_accuracy", direction="max", **more):
    options = {"trials": 12, "best_trial": 3, "values": {"optimizer.learning_rate": 0.1}}
    options = {**options, "tuned_objective": 0.97, **more}
    return Tuned(name=name, objective=objective, direction=direction, results=results, **options)


SGD = tuned("sgd", [0.94, 0.95, NAN, 0.9575])
LARS = tuned("lars", [0.98, 0.97], values={"optimizer.learning_rate": 12.5, "schedule.beta": 0.4})
LOST = tuned("lost", [NAN, math.inf], values={})


def test_mean_and_sample_standard_deviation():
    values = [0.94, 0.95, 0.9575]
    assert pytest.approx(np.mean(values)) == SGD.mean
    assert pytest.approx(np.std(values, ddof=1)) == SGD.deviation
    assert (len(SGD.finite), SGD.diverged, LOST.diverged) == (3, 1, 2)
    assert math.isnan(tuned("one", [0.5]).deviation) and tuned("one", [0.5]).mean == 0.5
    assert math.isnan(LOST.mean) and math.isnan(LOST.deviation)


def test_the_table_of_the_terminal():
    header, *lines = comparison_table([SGD, LARS, LOST]).splitlines()
    assert header.split() == ["recipe", "trials", "tuned", "val_accuracy", "mean", "deviation", "n"]
    assert [line.split() for line in lines] == [
        ["sgd", "12", "97.00%", "94.92%", "0.88%", "3", "(1", "diverged)"],
        ["lars", "12", "97.00%", "97.50%", "0.71%", "2"],
        ["lost", "12", "97.00%", "-", "-", "0", "(2", "diverged)"],
    ]
    ends = {line.index("97.00%") for line in lines}
    assert len(ends) == 1 and header.index("n", header.index("deviation") + 9) == lines[0].index(
        "3 (1"
    )


def test_files(tmp_path):
    folder = tmp_path / "new" / "comparison"
    assert write_comparison(folder, [SGD, LARS, LOST]) == folder / "report.html"
    with open(folder / "comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["sgd", "lars", "lost"]
    assert [float(rows[0][f"result_{n}"]) for n in (1, 2, 4)] == [0.94, 0.95, 0.9575]
    assert rows[0]["result_3"] == "nan" and rows[1]["result_3"] == ""
    assert float(rows[0]["mean"]) == SGD.mean and rows[0]["diverged"] == "1"
    assert float(rows[1]["standard_deviation"]) == LARS.deviation and rows[1]["n"] == "2"
    assert rows[1]["schedule.beta"] == "0.4" and rows[0]["schedule.beta"] == ""
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "comparison.png",
        "comparison.svg",
    }
    page = (folder / "report.html").read_text()
    assert "sgd: 1 of its 4 runs diverged." in page and "lost: 2 of its 2 runs diverged." in page
    assert "lars: " not in page
    assert page.count("<tr class=mark><td>lars</td>") == 1 == page.count("<tr class=mark>")
    assert "Each tuned with 12 trials" in page and "not tuned with the same number" not in page
    assert page.count("<svg") == 1 and "http" not in page


def test_what_the_recipes_are_called_is_escaped(tmp_path):
    evil = tuned("<script>x</script>", [0.5, NAN], values={"<b>": "<i>"})
    page = write_comparison(tmp_path, [evil]).read_text()
    assert "<script" not in page and "<b>" not in page and "<i>" not in page
    assert page.count("&lt;script&gt;") >= 2


def test_the_smallest_mean_is_the_best_of_a_loss(tmp_path):
    rows = [tuned(name, [value], "val_loss", "min") for name, value in (("a", 0.5), ("b", 0.25))]
    page = write_comparison(tmp_path, rows).read_text()
    assert "<tr class=mark><td>b</td>" in page and "<tr class=mark><td>a</td>" not in page


def test_unequal_budgets_are_noticed(tmp_path):
    page = write_comparison(tmp_path, [SGD, tuned("lars", [0.9], trials=8)]).read_text()
    assert "Each tuned with 8 and 12 trials" in page and "not tuned with the same number" in page


@pytest.mark.parametrize("rows", [[tuned("a", [])], [LOST], [tuned("a", [0.5])], [LOST, SGD] * 9])
def test_any_comparison_is_written(rows, tmp_path):
    write_comparison(tmp_path, rows)
    assert len(comparison_table(rows).splitlines()) == len(rows) + 1


def test_what_cannot_be_compared_is_an_error_and_nothing_is_written(tmp_path):
    for rows, message in (
        ([], r"rows=\[\]"),
        ([SGD, tuned("lars", [0.1], "val_loss", "max")], "objective='val_loss'.*lars.*of sgd"),
        ([SGD, tuned("lars", [0.1], direction="min")], r"\(min\) of lars"),
    ):
        for make in (comparison_table, lambda rows: write_comparison(tmp_path / "no", rows)):
            with pytest.raises(ValueError, match=message):
                make(rows)
    assert not (tmp_path / "no").exists()
