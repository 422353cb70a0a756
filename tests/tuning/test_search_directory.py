"""The directory of a search: never taken from another, resumed only as the same, its table whole."""

from __future__ import annotations

import csv
import json
import math
import shutil

import pytest

from tflbt.report import RunDirectory
from tflbt.runs import atomic_file
from tflbt.tuning.search_directory import SearchDirectory
from tflbt.tuning.trial import Outcome


def described(invented, **more):
    """The content of `search.json`."""
    return {
        "name": "digits_resnet:two_phase",
        "objective": "val_accuracy",
        "direction": "max",
        "tuner": "RandomSearch",
        "tuner_options": {},
        "max_trials": 12,
        "seed": 0,
        "ranks": 2,
        "ranks_per_trial": 2,
        "defaults": {"learning_rate": 0.3, "beta": None},
        "space": invented.space.get_config(),
        "config": {"model": {"widths": (16, 32)}},
        **more,
    }


def content(folder):
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_directory_of_something_else_is_taken_as_it_is(invented, tmp_path):
    path = tmp_path / "runs" / "search"
    path.mkdir(parents=True)
    (path / "slurm.log").write_text("mine")
    directory = SearchDirectory.create(path, described(invented))
    assert (path / "slurm.log").read_text() == "mine"
    assert json.loads(directory.search_json.read_text()) == directory.about
    assert directory.about["config"] == {"model": {"widths": [16, 32]}}
    assert SearchDirectory.create(tmp_path / "a" / "b", described(invented)).search_json.exists()
    assert directory.trial(12) == path / "trials" / "0012"


@pytest.mark.parametrize("mark", ["search", "journal", "run", "metrics"])
def test_the_directory_of_a_search_or_run_is_refused_and_untouched(invented, tmp_path, mark):
    path, hint = tmp_path / "taken", "or give another directory"
    if mark == "search":
        SearchDirectory.create(path, described(invented, seed=5))
        hint = "holds a search; go on with it by --resume"
    elif mark == "run":
        RunDirectory.create(path, {"epochs": 1})
    else:
        path.mkdir()
        name = {"journal": "journal.jsonl", "metrics": "metrics.csv"}[mark]
        (path / name).write_text("somebody's")
    before = content(path)
    with pytest.raises(FileExistsError, match=hint):
        SearchDirectory.create(path, described(invented))
    assert content(path) == before


def test_what_cannot_be_a_directory_is_named(invented, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="the search directory is a file.*/file"):
        SearchDirectory.create(tmp_path / "file", described(invented))
    with pytest.raises(OSError, match="cannot make the search directory.*file/below"):
        SearchDirectory.create(tmp_path / "file" / "below", described(invented))
    with pytest.raises(ValueError, match="space"):
        SearchDirectory.create(tmp_path / "new", described(invented, space={1, 2}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    with pytest.raises(FileNotFoundError, match=r"search.json is missing.*without --resume.*/new"):
        SearchDirectory.open(tmp_path / "new", described(invented))
    with pytest.raises(FileNotFoundError):
        SearchDirectory.open(tmp_path / "file")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "search.json").write_text('{"seed"')
    with pytest.raises(ValueError, match="damaged/search.json is damaged"):
        SearchDirectory.open(tmp_path / "damaged", described(invented))


def test_another_search_is_refused_and_its_differences_named(invented, tmp_path):
    SearchDirectory.create(tmp_path / "search", described(invented))
    before = content(tmp_path)
    space = invented.space.get_config()
    space["space"][0]["config"]["max_value"] = 2.0
    other = described(invented, seed=1, max_trials=99, space=space, config={"model": {"depth": 3}})
    with pytest.raises(ValueError) as error:
        SearchDirectory.open(tmp_path / "search", other)
    message = str(error.value)
    for part in (
        f"the search in {tmp_path}",
        "seed was 0, is now 1",
        "space.learning_rate.max_value was 1.0, is now 2.0",
        "config.model.widths was [16, 32], is now (not set)",
        "config.model.depth was (not set), is now 3",
        "or give another directory",
    ):
        assert part in message, part
    assert "max_trials" not in message and "space.space" not in message
    space["space"][1]["config"]["name"] = "gamma"
    many = r"is now 2.0; space.beta.*; and \d+ more \(compare with .*search.json\)"
    with pytest.raises(ValueError, match=many):
        SearchDirectory.open(tmp_path / "search", described(invented, seed=1, space=space))
    assert content(tmp_path) == before


def test_hyperparameters_declared_under_several_conditions_stay_apart(invented, tmp_path):
    def space(second):
        config = invented.space.get_config()
        config["space"] += [
            {"class_name": "Fixed", "config": {"name": "b", "value": value}}
            for value in (1, second)
        ]
        return config

    SearchDirectory.create(tmp_path, described(invented, space=space(2)))
    SearchDirectory.open(tmp_path, described(invented, space=space(2)))
    with pytest.raises(ValueError, match=r"one: space.b \(2\).value was 2, is now 3. Go on"):
        SearchDirectory.open(tmp_path, described(invented, space=space(3)))


def test_more_trials_and_other_ranks_are_allowed_and_written_down(invented, tmp_path):
    SearchDirectory.create(tmp_path, described(invented))
    written = (tmp_path / "search.json").stat().st_mtime_ns
    assert SearchDirectory.open(tmp_path).about["max_trials"] == 12
    SearchDirectory.open(tmp_path, described(invented))
    assert (tmp_path / "search.json").stat().st_mtime_ns == written
    more = {"max_trials": None, "ranks": 4, "ranks_per_trial": 1}
    directory = SearchDirectory.open(tmp_path, described(invented, **more))
    for name, value in {**more, "seed": 0}.items():
        assert directory.about[name] == value
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "search.json"}


def rows(directory):
    """The table as the standard library reads it."""
    with directory.trials_csv.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_row_a_trial(invented, tmp_path):
    directory = SearchDirectory.create(tmp_path / "search", described(invented))
    study = invented.study("Hyperband", baseline=True)
    message = 'ValueError: "a", b\nsecond line\r\nthird\u2028,; ä'
    ends = {
        0: Outcome("completed", (0.1, 0.25), 1.5),
        1: Outcome("completed", (0.5, 0.9, 0.9), 12.34567),
        2: Outcome("diverged", (0.1, math.nan), 1.0, "the loss is nan"),
        3: Outcome("failed", (), 0.0, message),
        4: Outcome("stopped", (0.3,), 1.0),
    }
    for number, outcome in ends.items():
        assert study.next().number == number
        study.end(number, outcome)
    study.next()
    directory.write_table(study)
    header = directory.trials_csv.read_text().splitlines()[0]
    assert header == (
        "trial,status,objective,best_epoch,epochs,seconds,continues,learning_rate,beta,message"
    )
    table = rows(directory)
    assert len(directory.trials_csv.read_text().split("\n")) == len(table) + 2 == 8
    assert [row["trial"] for row in table] == ["0", "1", "2", "3", "4", "5"]
    assert [row["status"] for row in table] == [
        "completed", "completed", "diverged", "failed", "stopped", "running",
    ]  # fmt: skip
    assert [row["objective"] for row in table] == ["0.25", "0.9", "0.1", "", "0.3", ""]
    assert [row["best_epoch"] for row in table] == ["2", "2", "1", "", "1", ""]
    assert [row["epochs"] for row in table] == ["2", "3", "2", "0", "1", ""]
    assert [row["seconds"] for row in table] == ["1.500", "12.346", "1.000", "0.000", "1.000", ""]
    assert [row["continues"] for row in table] == ["", "", "", "", "", "1"]
    assert (table[0]["learning_rate"], table[0]["beta"]) == ("0.3", "")  # the recipe's own
    for number in range(1, 6):
        assert float(table[number]["learning_rate"]) == study.trials[number].values["learning_rate"]
    assert table[3]["message"] == 'ValueError: "a", b second line third ,; ä'
    names = sorted(path.name for path in directory.path.iterdir())
    assert names == [".lock", "search.json", "trials.csv"]


def test_a_hyperparameter_that_a_trial_has_not_is_an_empty_cell(invented, tmp_path):
    space = invented.small
    space.Choice("name", ["a", "b"])
    with space.conditional_scope("name", ["b"]):
        space.Boolean("nesterov")
    directory = SearchDirectory.create(tmp_path / "search", described(invented))
    study = invented.study("GridSearch", space=space)
    for _ in range(3):
        study.next()
    directory.write_table(study)
    assert [row["name"] + row["nesterov"] for row in rows(directory)] == ["a", "bFalse", "bTrue"]


def make_trial(directory, number):
    """A run directory with two checkpoints."""
    for epoch in (3, 12):
        folder = directory.trial(number) / "checkpoints" / f"epoch_{epoch:05d}"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(str(epoch))
    (directory.trial(number) / "metrics.csv").write_text("epoch\n12\n")


def test_safe_epochs_are_those_of_the_newest_whole_checkpoint(invented, tmp_path):
    directory = SearchDirectory.create(tmp_path, described(invented))
    assert directory.safe_epochs(1) == 0
    make_trial(directory, 1)
    checkpoints = directory.trial(1) / "checkpoints"
    for name in (".writing_epoch_00020", "epoch_00030.old", "epoch_last"):
        (checkpoints / name).mkdir()
    assert directory.safe_epochs(1) == 12
    (checkpoints / "epoch_00012").rename(checkpoints / ".replaced_epoch_00012")
    assert directory.safe_epochs(1) == 12  # as a training that goes on would find it
    for updates in (7, 120):  # a job that ends within each epoch gets on, too
        (checkpoints / f"epoch_00012_update_{updates:06d}").mkdir()
        assert directory.safe_epochs(1) == 12 + updates / 1e6
    directory.drop_checkpoints(1)
    directory.drop_checkpoints(7)
    assert directory.safe_epochs(1) == 0 and (directory.trial(1) / "metrics.csv").exists()


def test_a_copy_of_a_trial_is_whole_or_absent(invented, tmp_path, monkeypatch):
    directory = SearchDirectory.create(tmp_path, described(invented))
    make_trial(directory, 1)
    copy_all = shutil.copytree

    def copy_killed_after(files):
        left = iter(range(files))

        def copy(source, target):
            if next(left, None) is None:
                raise KeyboardInterrupt  # as good as a kill: nothing tidies up
            shutil.copy2(source, target)

        return lambda source, target, *_: copy_all(source, target, copy_function=copy)

    for files in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "copytree", copy_killed_after(files))
            with pytest.raises(KeyboardInterrupt):
                directory.copy_trial(1, 2)
        assert not directory.trial(2).exists()
    directory.copy_trial(1, 2)
    assert content(directory.trial(2)) == content(directory.trial(1))
    assert sorted(path.name for path in directory.trial(1).parent.iterdir()) == ["0001", "0002"]
    (directory.trial(2) / "metrics.csv").write_text("further on")
    directory.copy_trial(1, 2)
    assert (directory.trial(2) / "metrics.csv").read_text() == "further on"


def test_a_copy_that_fails_leaves_nothing_and_says_what_it_was(invented, tmp_path, monkeypatch):
    directory = SearchDirectory.create(tmp_path, described(invented))
    directory.copy_trial(1, 2)  # failed before it had a directory: trial 2 begins anew
    assert not (tmp_path / "trials").exists()
    make_trial(directory, 1)

    def full(source, target, **options):
        target.mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(
        OSError, match="cannot copy trial 1, which trial 2 goes on with: .*No space"
    ):
        directory.copy_trial(1, 2)
    assert [path.name for path in (tmp_path / "trials").iterdir()] == ["0001"]


def test_a_table_that_cannot_be_written_leaves_the_old_one(invented, tmp_path, monkeypatch):
    directory = SearchDirectory.create(tmp_path / "search", described(invented))
    study = invented.study()
    study.next()
    directory.write_table(study)
    before = directory.trials_csv.read_bytes()
    study.end(1, Outcome("completed", (0.5,)))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_file.os, "replace", full)
    with pytest.raises(OSError, match="cannot write: No space.*trials.csv"):
        directory.write_table(study)
    assert directory.trials_csv.read_bytes() == before
