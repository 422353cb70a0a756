"""report.html of a search: the winner beside the recipe, every trial, and text as text."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser

import pytest

from tflbt import report

RATE, BETA = "optimizer.learning_rate", "schedule.beta"
EVIL = '<script>alert("1")</script>&\''
COLUMNS = ["trial", "status", "objective", "best_epoch", "epochs", "seconds", "continues"]
ROWS = [
    (0, "completed", 0.95, 3, 9, 10.0, "", 1.0, 0.5, ""),
    (1, "completed", 0.9, 3, 9, 30.0, "", 0.1, 0.4, ""),
    (2, "completed", 0.97125, 8, 9, 30.0, "", 2.0, 0.6, ""),
    (3, "failed", "", "", 1, 5.0, "", 4.0, 0.3, f"out of memory {EVIL}"),
    (4, "running", "", "", "", "", 2, 3.0, 0.7, ""),
]


class Reader(HTMLParser):
    """Collects the elements, what they refer to, and the rows of the tables."""

    def __init__(self):
        """Starts with nothing."""
        super().__init__()
        self.tags, self.references, self.ids, self.rows, self.text = [], [], [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [value for name, value in attributes if name in ("src", "href")]
        self.ids += [value for name, value in attributes if name == "id"]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.tags.append(f"/{tag}")

    def handle_data(self, data):
        self.text += data
        if self.tags and self.tags[-1] in ("td", "th", "a"):
            self.rows[-1][-1] += data


def read(path):
    reader = Reader()
    reader.feed(path.read_text("utf-8"))
    return reader


@pytest.fixture
def make(tmp_path):
    """Writes the files of a search as tflbt.tune leaves them."""

    def write(rows=ROWS, names=(RATE, BETA), **changed):
        kinds = [{"class_name": "Float", "config": {"name": name}} for name in names]
        settings = {
            "name": "digits:two_phase",
            "objective": "val_accuracy",
            "direction": "max",
            "tuner": "RandomSearch",
            "max_trials": 4,
            "ranks": 4,
            "ranks_per_trial": 2,
            "defaults": {RATE: 1.0, BETA: None},
            "space": {"space": kinds},
            "config": {"hidden": "in best.json"},
            **changed,
        }
        (tmp_path / "search.json").write_text(json.dumps(settings))
        with open(tmp_path / "trials.csv", "w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerows([[*COLUMNS, *names, "message"], *rows])
        return tmp_path

    return write


def test_the_page_shows_the_winner_beside_the_recipe_and_every_trial(make):
    folder = make()
    path = report.write_search(folder)
    assert path == folder / "report.html"
    reader = read(path)
    assert reader.tags.count("svg") == 3 == reader.tags.count("/figure")
    assert ["val_accuracy", "97.12%", "95.00%"] in reader.rows
    assert [RATE, "2", "1"] in reader.rows and [BETA, "0.6", "none"] in reader.rows
    numbers = [row[:3] for row in reader.rows if row[0].isdigit()]
    assert numbers == [
        ["0", "completed", "0.95"],
        ["1", "completed", "0.9"],
        ["2", "completed", "0.97125"],
        ["3", "failed", ""],
        ["4", "running", ""],
    ]
    assert ["4", "running", "", "", "", "", "2", "3", "0.7", ""] in reader.rows  # goes on with 2
    assert "This search has 3 of its 4 trials." in reader.text
    command = "horovodrun -np 2 python -m tflbt.train --config=best.json --workdir=winner"
    assert command in reader.text
    assert "hidden" not in reader.text
    assert len(set(reader.ids)) == len(reader.ids)
    assert {path.name for path in (folder / "figures").iterdir()} == {
        f"{name}.{kind}"
        for name in ("objective", "heat_map", "parallel_coordinates")
        for kind in ("png", "svg")
    }


def test_it_is_escaped_and_loads_nothing(make):
    folder = make(names=(EVIL, "b"), name=EVIL, tuner=EVIL, defaults={EVIL: EVIL})
    reader = read(report.write_search(folder))
    assert "script" not in reader.tags and "<script" not in (folder / "report.html").read_text()
    assert reader.text.count("<script>alert") >= 6
    assert all(reference.startswith("#") for reference in reader.references)
    assert "http" not in (folder / "report.html").read_text()


def test_a_trial_that_has_a_page_of_its_own_leads_to_it(make):
    folder = make()
    (folder / "trials" / "0002").mkdir(parents=True)
    (folder / "trials" / "0002" / "report.html").write_text("")
    found = [place for place in read(report.write_search(folder)).references if place[0] != "#"]
    assert found == ["trials/0002/report.html"]


def test_a_search_that_does_not_beat_the_recipe_says_so(make):
    better = [(0, "completed", 0.97125, *ROWS[0][3:]), *ROWS[1:]]
    text = read(report.write_search(make(better))).text
    assert "No trial beats the recipe as it is." in text
    assert "not better than 97.12% with the recipe as it is" in text
    assert "No trial beats" not in read(report.write_search(make())).text


def test_a_search_in_which_all_diverged(make):
    rows = [(n, "diverged", "", "", 1, 1.0, "", n, 0.5, "nan") for n in (1, 2, 3, 4)]
    reader = read(report.write_search(make(rows)))
    assert "No trial ended with an objective" in reader.text
    assert "tflbt.train" not in reader.text
    assert reader.tags.count("svg") == 2  # beta was not varied: no map


def test_a_search_that_has_only_begun(make):
    reader = read(report.write_search(make(ROWS[:1])))
    assert reader.tags.count("svg") == 0 and "0 of its 4 trials" in reader.text


def test_writing_again_replaces_the_page(make):
    first = report.write_search(make()).read_text()
    again = report.write_search(
        make([*ROWS[:-1], (4, "completed", 0.99, *ROWS[2][3:])])
    ).read_text()
    assert "This search has 3 of its 4 trials." in first and "99.00%" not in first
    assert "This search has" not in again and "99.00%" in again


def test_one_rank_needs_no_horovodrun(make):
    text = read(report.write_search(make(ranks_per_trial=1))).text
    assert "horovodrun" not in text and "python -m tflbt.train --config=best.json" in text
