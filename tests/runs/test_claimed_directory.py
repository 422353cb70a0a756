"""A directory is created once, and opened again only for what it was created for."""

from __future__ import annotations

import json

import pytest

from tflbt.runs.claimed_directory import ClaimedDirectory


class Experiment(ClaimedDirectory):
    kind = "experiment"
    description_name = "experiment.json"
    refusal = "{path} is another experiment: {changes}"

    def _taken(self):
        return "an experiment" if (self.path / self.description_name).exists() else ""


def test_a_bare_path_is_not_claimed_and_nothing_is_written(tmp_path):
    place = Experiment(tmp_path / "new")
    assert not place.claimed and not place.path.exists()


def test_what_was_created_is_opened_as_it_was(tmp_path):
    created = Experiment.create(tmp_path / "a" / "b", {"size": (1, 2)})
    assert created.claimed
    assert json.loads((created.path / "experiment.json").read_text()) == {"size": [1, 2]}
    opened = Experiment.open(created.path, {"size": (1, 2)})
    assert opened.claimed and opened.path == created.path
    assert Experiment.open(created.path, {"size": 3}, may_differ=["size"]).claimed
    with pytest.raises(ValueError, match=rf"{created.path} is another experiment: size was"):
        Experiment.open(created.path, {"size": 3})


def test_of_many_changes_the_first_are_named(tmp_path):
    place = Experiment.create(tmp_path, {f"key_{i}": i for i in range(45)})
    with pytest.raises(ValueError, match="another experiment") as refused:
        Experiment.open(tmp_path, {f"key_{i}": -i - 1 for i in range(45)})
    first = "; ".join(f"key_{i} was {i}, is now {-i - 1}" for i in range(5))
    more = f"; and 40 more (compare with {place.path / 'experiment.json'})"
    assert str(refused.value).endswith(first + more)


def test_errors_name_the_kind_and_the_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="the experiment directory is a file.*/file"):
        Experiment.create(tmp_path / "file", {})
    with pytest.raises(OSError, match="cannot make the experiment directory.*file/below"):
        Experiment.create(tmp_path / "file" / "below", {})
    with pytest.raises(FileNotFoundError, match="no experiment to open here .experiment.json"):
        Experiment.open(tmp_path / "new")
    Experiment.create(tmp_path / "taken", {})
    with pytest.raises(FileExistsError, match="this directory holds an experiment.*/taken"):
        Experiment.create(tmp_path / "taken", {})


def test_a_directory_that_another_job_took_in_the_meantime_is_left_alone(tmp_path):
    class Slow(Experiment):
        calls = 0

        def _taken(self):
            Slow.calls += 1
            return "an experiment" if Slow.calls > 1 else ""

    with pytest.raises(FileExistsError):
        Slow.create(tmp_path, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock"]
