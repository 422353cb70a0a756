"""TensorBoard reads what the event log writes, each step once."""

from __future__ import annotations

import math

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from tflbt.runs.event_log import EventLog, tag

ROWS = [
    {"epoch": n, "loss": 1 / n, "val_loss": 2 / n, "phase": "exploration", "eigenvalue": None}
    for n in range(1, 5)
]


def read(folder):
    """Scalars by tag, as (step, value) pairs."""
    events = EventAccumulator(str(folder)).Reload()
    return {
        name: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events.Tensors(name)]
        for name in events.Tags()["tensors"]
        if not name.startswith("_hparams_")
    }


def test_scalars_by_tag_and_epoch(tmp_path):
    log = EventLog(tmp_path, [], {})
    for row in ROWS:
        log.add({**row, "learning_rate": 0.5, "seconds": 1.5, "seconds_computation": 1.25})
    scalars = read(tmp_path)  # before the file is closed: every epoch is flushed
    log.close()
    assert scalars["train/loss"] == [(n, pytest.approx(1 / n)) for n in range(1, 5)]
    assert scalars["val/loss"][1] == (2, 1.0)
    assert scalars["learning_rate"][0] == (1, 0.5)
    assert scalars["seconds/computation"][3] == (4, 1.25)  # in one group with "seconds"
    assert set(scalars) == {
        *("train/loss", "val/loss", "learning_rate", "seconds", "seconds/computation")
    }


def test_what_a_schedule_set_and_measured_is_no_training_metric():
    names = ("eigenvalue", "curvature_products", "decays", "growths", "adversarial_ratio")
    assert [tag(name) for name in names] == list(names)


def test_a_resumed_run_has_every_step_once(tmp_path):
    log = EventLog(tmp_path, [], {"seed": 1})
    for row in ROWS:
        log.add(row)
    log.close()
    again = EventLog(tmp_path, ROWS[:2], {"seed": 1})
    again.add({"epoch": 3, "loss": 7.0})
    again.close()
    assert read(tmp_path)["train/loss"] == [(1, 1.0), (2, 0.5), (3, 7.0)]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_a_kill_cut_off_does_no_harm(tmp_path):
    log = EventLog(tmp_path, [], {})
    log.add(ROWS[0])
    log.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-7])
    EventLog(tmp_path, ROWS[:1], {}).close()
    assert read(tmp_path)["train/loss"] == [(1, 1.0)]


def test_times_of_earlier_epochs_are_those_they_took(tmp_path):
    rows = [{"epoch": n, "loss": 1.0, "seconds": 100.0} for n in (1, 2, 3)]
    EventLog(tmp_path, rows, {}).close()
    events = EventAccumulator(str(tmp_path)).Reload().Tensors("train/loss")
    assert events[2].wall_time - events[0].wall_time == pytest.approx(200.0)


def test_hyper_parameters(tmp_path):
    hparams = {"rate": 0.1, "name": "lars", "on": True, "none": None, "stages": [1, 2]}
    EventLog(tmp_path, [], hparams).close()
    events = EventAccumulator(str(tmp_path)).Reload()
    metadata = events.SummaryMetadata("_hparams_/session_start_info")
    assert metadata.plugin_data.plugin_name == "hparams"
    data = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
    found = data.session_start_info.hparams
    assert found["rate"].number_value == 0.1
    assert found["on"].bool_value is True
    assert found["stages"].string_value == "[1, 2]"
    assert found["none"].string_value == "None"


def test_not_a_number_is_written(tmp_path):
    EventLog(tmp_path, [{"epoch": 1, "loss": math.nan}], {}).close()
    assert math.isnan(read(tmp_path)["train/loss"][0][1])


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    EventLog(tmp_path, [], {}).close()
    assert (tmp_path / "notes.txt").read_text() == "mine"
