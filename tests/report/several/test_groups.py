"""Runs are put together by seed, and named by what they differ in."""

from __future__ import annotations

import pytest

from tflbt.report import RunDirectory
from tflbt.report.several.groups import by_seed, labels


def test_runs_that_differ_by_seed_only_are_one_group(make_run):
    runs = [make_run("lars", 64, 0.9, seed) for seed in (0, 1)]
    runs += [make_run("lars", 64, 0.8, momentum=0.5), make_run("sgd", 64, 0.7)]
    groups = by_seed([*runs, runs[0]])
    assert [list(group.histories) for group in groups] == [runs[:2], runs[2:3], runs[3:]]
    assert labels(groups) == ["lars momentum=None", "lars momentum=0.5", "sgd"]
    assert labels(groups, ["momentum"]) == ["lars", "lars", "sgd"]
    assert groups[0].finals("val_accuracy") == [0.9, 0.9] and groups[0].metric == "val_accuracy"


def test_the_same_run_again_would_make_the_spread_small(make_run):
    with pytest.raises(ValueError, match="lars_64_0.* and .*seed=0 included"):
        by_seed([make_run("lars", 64, 0.9), make_run("lars", 64, 0.9)])


def test_runs_without_a_configuration_stand_alone(tmp_path):
    runs = [RunDirectory(tmp_path / name) for name in "ab"]
    for run in runs:
        run.path.mkdir()
        run.metrics.append({"epoch": 1, "loss": 0.5})
    assert [group.name for group in by_seed(runs)] == ["a", "b"]
    with pytest.raises(FileNotFoundError, match="no epochs"):
        by_seed([tmp_path])
