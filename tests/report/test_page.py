"""report.html is well-formed, stands alone, and shows text as text."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest

from tflbt import report
from tflbt.report import RunDirectory

VOID = {"meta", "link", "br", "img", "hr", "input"}
EVIL = '<script>alert("1")</script>&\''


class Reader(HTMLParser):
    """Follows the nesting of elements and collects what they refer to."""

    def __init__(self):
        """Starts with nothing."""
        super().__init__()
        self.open, self.tags, self.references, self.ids, self.text = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "srcset", "data", "action", "poster"):
                self.references.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text("utf-8"))
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture
def run(two_phase_rows, tmp_path):
    config = {"name": "digits", "variant": "two_phase", "epochs": 60, "sub_batch_size": 64}
    run = RunDirectory.create(tmp_path / "run", config)
    for row in two_phase_rows:
        run.metrics.append(row)
    return run


def test_the_page_is_well_formed_and_complete(run):
    reader = read(report.write(run))
    assert reader.tags.count("figure") == 4 == reader.tags.count("svg")
    assert reader.tags.count("h1") == 1
    text = " ".join(reader.text)
    for expected in ("digits · two_phase", "98.42%", "Phase switch", "epoch 30", "sub_batch_size"):
        assert expected in text
    assert len(set(reader.ids)) == len(reader.ids)


def test_a_run_whose_batch_grew_with_an_account_of_its_time(tmp_path):
    run = RunDirectory(tmp_path)
    for n in (1, 2):
        row = {"epoch": n, "loss": 1 / n, "learning_rate": 0.1 * n, "batch_size": 128 * n}
        run.metrics.append({**row, "seconds": 2.0, "seconds_computation": 1.5})
    reader = read(report.write(run))
    text = " ".join(reader.text)
    for expected in ("Batch size and learning rate", "Where the time went", "computation 75%"):
        assert expected in text
    assert "Dotted lines mark where the batch grew" in text and "128 → 256" in text
    assert len(set(reader.ids)) == len(reader.ids)


def test_it_loads_nothing(run):
    path = report.write(run)
    reader, text = read(path), path.read_text()
    assert all(reference.startswith("#") for reference in reader.references)
    assert "http" not in text and "script" not in reader.tags and "link" not in reader.tags
    assert "@import" not in text
    assert all(inside.startswith("#") for inside in re.findall(r"url\(([^)]*)", text))


def test_what_svg_refers_to_is_there(run):
    path = report.write(run)
    reader, text = read(path), path.read_text()
    for target in re.findall(r'(?:url\(|href=")#([^)"]+)', text):
        assert target in reader.ids


def test_everything_is_escaped(tmp_path):
    run = RunDirectory.create(tmp_path / "run", {"name": EVIL, EVIL: EVIL, "list": [EVIL]})
    run.metrics.append({"epoch": 1, "loss": 0.5, EVIL: 0.5, "phase": EVIL})
    path = report.write(run)
    reader = read(path)
    assert "script" not in reader.tags
    assert "<script" not in path.read_text()
    assert " ".join(reader.text).count("<script>alert") >= 6


def test_one_epoch_without_phases_configuration_or_environment(tmp_path):
    run = RunDirectory(tmp_path)
    run.metrics.append({"epoch": 1, "loss": 0.5})
    text = report.write(tmp_path).read_text()
    read(run.report_html)
    assert "Phase switch" not in text and "config.json" not in text
    assert f"<h1>{tmp_path.name}</h1>" in text


def test_a_run_that_ended_early_or_diverged_says_so(tmp_path):
    run = RunDirectory.create(tmp_path, {"epochs": 9})
    run.metrics.append({"epoch": 1, "loss": math.nan})
    text = report.write(run).read_text()
    assert "1 of its 9 epochs" in text
    assert "no longer a finite number" in text


def test_no_epochs_is_an_error_that_names_the_table(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no epochs.*metrics\.csv"):
        report.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_writing_again_replaces_the_page(run):
    first = report.write(run).read_text()
    run.metrics.append({"epoch": 61, "loss": 0.01})
    assert report.write(run).read_text() != first
