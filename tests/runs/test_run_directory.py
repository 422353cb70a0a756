"""A run's directory is made once, never damaged, and opened again only for the same run."""

from __future__ import annotations

import json
import resource

import pytest

from tflbt.runs.run_directory import RunDirectory

CONFIG = {"epochs": 3, "model": {"name": "lenet", "stages": (1, 2)}}


def contents(path):
    return {p: p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_create_writes_configuration_and_environment(tmp_path):
    run = RunDirectory.create(tmp_path / "deep" / "run", CONFIG)
    assert json.loads(run.config_json.read_text())["model"] == {"name": "lenet", "stages": [1, 2]}
    assert run.environment["ranks"] == 1
    assert run.hyper_parameters["model.name"] == "lenet"


def test_an_empty_directory_or_one_with_other_files_is_fine(tmp_path):
    (tmp_path / "slurm-1.out").write_text("log")
    RunDirectory.create(tmp_path, CONFIG)
    assert (tmp_path / "slurm-1.out").read_text() == "log"


@pytest.mark.parametrize("sign", ["config.json", "metrics.csv", "report.html", "checkpoints/1"])
def test_a_directory_that_holds_a_run_is_left_alone(tmp_path, sign):
    (tmp_path / sign).parent.mkdir(exist_ok=True)
    (tmp_path / sign).write_text("precious")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match="--resume.*--workdir") as caught:
        RunDirectory.create(tmp_path, CONFIG)
    assert str(tmp_path) in str(caught.value)
    assert contents(tmp_path) == before


def test_a_creation_that_was_killed_before_the_end_can_be_repeated(tmp_path):
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / ".config.json.partial").write_text("{")
    assert RunDirectory.create(tmp_path, CONFIG).config["epochs"] == 3


def test_create_where_a_file_is(tmp_path):
    path = tmp_path / "run"
    path.write_text("")
    with pytest.raises(NotADirectoryError, match="run"):
        RunDirectory.create(path, CONFIG)


def test_create_below_a_file_names_the_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file/run"):
        RunDirectory.create(tmp_path / "file" / "run", CONFIG)


def test_no_space_names_the_file(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match=r"\.json"):
            RunDirectory.create(tmp_path, CONFIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not RunDirectory(tmp_path).holds_run


def test_an_unusable_configuration_makes_no_directory(tmp_path):
    with pytest.raises(ValueError, match="config.loss"):
        RunDirectory.create(tmp_path / "run", {"loss": print})
    assert not (tmp_path / "run").exists()


def test_open_takes_the_same_configuration_and_writes_nothing(tmp_path):
    RunDirectory.create(tmp_path, CONFIG)
    before = contents(tmp_path)
    assert RunDirectory.open(tmp_path, CONFIG).config["epochs"] == 3
    assert RunDirectory.open(tmp_path).config["epochs"] == 3
    assert contents(tmp_path) == before


def test_open_names_every_difference(tmp_path):
    RunDirectory.create(tmp_path, CONFIG)
    other = {"epochs": 5, "model": {"name": "resnet", "stages": (1, 2)}}
    with pytest.raises(ValueError) as caught:
        RunDirectory.open(tmp_path, other)
    assert "epochs was 3, is now 5" in str(caught.value)
    assert 'model.name was "lenet", is now "resnet"' in str(caught.value)
    assert "stages" not in str(caught.value)
    RunDirectory.open(tmp_path, other, may_differ=["epochs", "model.name"])


def test_open_where_no_run_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="--resume"):
        RunDirectory.open(tmp_path / "nowhere")


def test_open_with_damaged_configuration(tmp_path):
    run = RunDirectory.create(tmp_path, CONFIG)
    run.config_json.write_text('{"epochs": ')
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        RunDirectory.open(tmp_path)


def test_places():
    run = RunDirectory("runs/a")
    places = (run.metrics_csv, run.tensorboard, run.checkpoints, run.figures, run.report_html)
    assert [str(place.relative_to("runs/a")) for place in places] == [
        "metrics.csv",
        "tensorboard",
        "checkpoints",
        "figures",
        "report.html",
    ]
