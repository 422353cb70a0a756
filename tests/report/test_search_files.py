"""search.json and trials.csv become a search; damage is reported with the file's name."""

from __future__ import annotations

import json
import math

import pytest

from tflbt.report import search_files

HEAD = "trial,status,objective,best_epoch,epochs,seconds,continues,"


def entry(name, kind="Float", **more):
    return {"class_name": kind, "config": {"name": name, "conditions": [], **more}}


SPACE = [
    entry("optimizer.learning_rate", sampling="log"),
    entry("warmup.epochs", "Int", sampling="linear"),
    entry("optimizer.name", "Choice", values=["1", "SGD", "LARS"]),
    entry("optimizer.nesterov", "Boolean"),
    entry("seed", "Fixed", value=7),
]


@pytest.fixture
def folder(tmp_path):
    """A directory with the settings of a search; the test writes the table."""
    settings = {"objective": "val_loss", "direction": "min", "space": {"space": SPACE}}
    (tmp_path / "search.json").write_text(json.dumps(settings))
    return tmp_path


def table(folder, names, *lines):
    (folder / "trials.csv").write_text("\n".join([f"{HEAD}{names}message", *lines, ""]))
    return search_files.read(folder)


def test_every_kind_of_value_comes_back_as_the_space_has_it(folder):
    names = "optimizer.learning_rate,warmup.epochs,optimizer.name,optimizer.nesterov,seed,"
    first = '1,completed,0.25,3,4,31.5,,0.30000000000000004,5,1,True,7,"a, b"'
    history = table(folder, names, first, "2,diverged,,,1,,1,2,0,SGD,False,7,nan")
    first, second = history.trials
    assert dict(first.values) == {
        "optimizer.learning_rate": 0.1 + 0.2,
        "warmup.epochs": 5,
        "optimizer.name": "1",
        "optimizer.nesterov": True,
        "seed": 7,
    }
    assert isinstance(first.values["optimizer.name"], str)
    assert (
        first.values["optimizer.nesterov"] is True and second.values["optimizer.nesterov"] is False
    )
    assert (first.objective, first.best_epoch, first.epochs, first.seconds) == (0.25, 3, 4, 31.5)
    assert (first.continues, second.continues, first.message, second.message) == (
        None,
        1,
        "a, b",
        "nan",
    )
    assert math.isnan(second.objective) and math.isnan(second.seconds) and second.best_epoch is None
    found = {entry.name: (entry.kind, entry.log) for entry in history.hyper_parameters}
    assert found["optimizer.learning_rate"] == ("Float", True)
    assert found["warmup.epochs"] == ("Int", False) and "seed" not in found


def test_values_that_are_absent_and_columns_the_space_does_not_have(folder):
    lines = ("1,completed,0.5,1,1,1,,0.1,,4,", "2,completed,0.4,1,1,1,,,SGD,8,")
    history = table(folder, "optimizer.learning_rate,optimizer.name,own.key,", *lines)
    assert [dict(trial.values) for trial in history.trials] == [
        {"optimizer.learning_rate": 0.1, "own.key": 4},
        {"optimizer.name": "SGD", "own.key": 8},
    ]
    assert history.column("optimizer.name") == [None, "SGD"]
    assert history.numbers("own.key") == [4.0, 8.0] and history.numbers("optimizer.name") == []


def test_a_hyper_parameter_named_as_a_column_is_read(folder):
    settings = {
        "objective": "loss",
        "direction": "min",
        "space": {"space": [entry("epochs", "Int")]},
    }
    (folder / "search.json").write_text(json.dumps(settings))
    history = table(folder, "epochs,", "1,completed,0.5,1,3,1,,3,", "2,completed,0.4,1,9,1,,9,")
    assert history.column("epochs") == [3, 9]


def test_the_recipe_as_it_is_stands_apart_whatever_its_values(folder):
    lines = ("0,completed,0.3,1,1,1,,adagrad,", "1,completed,0.2,1,1,1,,SGD,")
    history = table(folder, "optimizer.name,", *lines)
    assert [trial.number for trial in history.trials] == [1]
    assert history.baseline.values == {"optimizer.name": "adagrad"}
    assert history.gain == pytest.approx(0.1)
    assert [trial.number for trial in history.rows] == [0, 1]


def test_trials_are_in_order_and_a_search_that_goes_on_is_read(folder):
    history = table(
        folder, "", "3,running,,,,,,", "1,stopped,0.5,1,2,9.0,,", "2,failed,0.1,1,1,2,,x"
    )
    assert [trial.number for trial in history.trials] == [1, 2, 3]
    assert history.counts == {"stopped": 1, "failed": 1, "running": 1}
    assert history.best.number == 1 and [trial.number for trial in history.finished] == [1, 2]


def test_a_last_line_that_was_cut_off_is_left_out(folder):
    (folder / "trials.csv").write_text(f"{HEAD}message\n1,completed,0.5,1,2,9.0,,\n2,compl")
    assert [trial.number for trial in search_files.read(folder).trials] == [1]


def test_missing_files_are_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no trials.*trials\.csv"):
        search_files.read(folder)
    (folder / "trials.csv").write_text(f"{HEAD}message\n")
    with pytest.raises(FileNotFoundError, match=r"no trials.*trials\.csv"):
        search_files.read(folder)
    with pytest.raises(FileNotFoundError, match=r"no search here.*search\.json"):
        search_files.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text",
    [
        '{"objective": "loss", "direc',
        "[]",
        '{"objective": "loss"}',
        '{"objective": "loss", "direction": "up"}',
        '{"direction": "max"}',
        '{"objective": "loss", "direction": "min", "space": {"space": [{}]}}',
        '{"objective": "loss", "direction": "min", "space": [1]}',
    ],
)
def test_damaged_settings_are_named(folder, text):
    (folder / "search.json").write_text(text)
    with pytest.raises(ValueError, match=r"search\.json is damaged"):
        search_files.read(folder)


@pytest.mark.parametrize(
    ("names", "line", "message"),
    [
        ("", "2,lost,0.5,,,,,", "status='lost' must be one of 'completed'"),
        ("", "2,completed,high,,,,,", "objective='high' is not a number"),
        ("", ",completed,0.5,,,,,", "line 3: trial=None is no whole number"),
        ("", "inf,completed,0.5,,,,,", "trial=inf is no whole number"),
        ("", "2,completed,0.5,,1e400,,,", "epochs=inf is no whole number"),
        ("", "2,completed,0.5,-1,,,,", "best_epoch=-1 is no whole number"),
        (
            "optimizer.learning_rate,",
            "2,completed,0.5,,,,,big,",
            "learning_rate='big' is not a number",
        ),
        ("optimizer.name,", "2,completed,0.5,,,,,LAMB,", "optimizer.name='LAMB' is none of"),
        ("optimizer.nesterov,", "2,completed,0.5,,,,,maybe,", "'maybe' is none of"),
    ],
)
def test_a_damaged_line_is_named(folder, names, line, message):
    good = f"1,completed,0.5,,,,,{',' if names else ''}"
    with pytest.raises(ValueError, match=r"trials\.csv, line 3: .*") as error:
        table(folder, names, good, line)
    assert message in str(error.value)


def test_what_no_figure_can_show_is_no_objective(folder):
    assert table(folder, "", "1,completed,-1e308,,,,,", "2,completed,0.5,,,,,").best.number == 2


def test_a_column_that_must_be_there_is_named(folder):
    (folder / "trials.csv").write_text("trial,objective\n1,0.5\n")
    with pytest.raises(ValueError, match=r"trials\.csv, line 2: no column 'status'"):
        search_files.read(folder)
