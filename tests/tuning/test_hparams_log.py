"""TensorBoard reads a search's space and its trials, each once, from what `HParamsLog` writes."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

pytest.importorskip("keras_tuner")

import keras_tuner
from google.protobuf import json_format
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tflbt.tuning.hparams_log import HParamsLog


def a_space():
    space = keras_tuner.HyperParameters()
    space.Float("optimizer.learning_rate", 0.01, 1, sampling="log")
    space.Int("warmup.epochs", 0, 10, step=5)
    space.Choice("optimizer.momentum", [0.9, 0.5, 0.99])
    space.Choice("data.standardize", ["per_pixel", "divide_255"])
    space.Boolean("optimizer.nesterov")
    space.Fixed("batch_size", 512)
    return space


VALUES = {
    "optimizer.learning_rate": 0.25,
    "warmup.epochs": 5,
    "optimizer.momentum": 0.9,
    "data.standardize": "per_pixel",
    "optimizer.nesterov": True,
    "batch_size": 512,
}


def plugin_data(folder, tag):
    """What the plugin's summary of a folder's own event file says."""
    content = EventAccumulator(str(folder)).Reload().SummaryMetadata(tag).plugin_data
    assert content.plugin_name == "hparams"
    return HParamsPluginData.FromString(content.content)


def sessions(folder):
    """The groups of sessions as TensorBoard's own HPARAMS page asks for them."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    tensorboard = base_plugin.TBContext(
        data_provider=MultiplexerDataProvider(multiplexer, str(folder))
    )
    every = [
        getattr(api_pb2, f"STATUS_{name}") for name in ("SUCCESS", "FAILURE", "RUNNING", "UNKNOWN")
    ]
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=100,
        allowed_statuses=every,
        aggregation_type=api_pb2.AGGREGATION_AVG,
    )
    context = backend_context.Context(tensorboard)
    response = list_session_groups.Handler(RequestContext(), context, "", request).run()
    return sorted(response.session_groups, key=lambda group: group.name)


def test_the_experiment_says_the_space_and_the_metrics(tmp_path):
    HParamsLog(tmp_path, a_space(), "val_accuracy", ("seconds", "val_accuracy"))
    experiment = plugin_data(tmp_path, metadata.EXPERIMENT_TAG).experiment
    found = {info.name: info for info in experiment.hparam_infos}
    assert set(found) == set(VALUES)
    rate = found["optimizer.learning_rate"]
    assert (rate.domain_interval.min_value, rate.domain_interval.max_value) == (0.01, 1.0)
    epochs = found["warmup.epochs"].domain_interval
    assert (epochs.min_value, epochs.max_value) == (0, 10)
    discrete = {
        name: (info.type, json_format.MessageToDict(info.domain_discrete))
        for name, info in found.items()
        if info.HasField("domain_discrete")
    }
    assert discrete == {
        "optimizer.momentum": (api_pb2.DATA_TYPE_FLOAT64, [0.5, 0.9, 0.99]),
        "data.standardize": (api_pb2.DATA_TYPE_STRING, ["divide_255", "per_pixel"]),
        "optimizer.nesterov": (api_pb2.DATA_TYPE_BOOL, [False, True]),
        "batch_size": (api_pb2.DATA_TYPE_FLOAT64, [512]),
    }
    assert [info.name.tag for info in experiment.metric_infos] == ["val_accuracy", "seconds"]


def test_a_name_under_several_conditions_is_shown_once_with_all_its_range(tmp_path):
    space = keras_tuner.HyperParameters()
    space.Choice("optimizer.name", ["SGD", "LARS", "LAMB"])
    for name, low, high in (("SGD", 0.1, 0.5), ("LARS", 0.5, 8.0), ("LAMB", 0.01, 0.02)):
        with space.conditional_scope("optimizer.name", [name]):
            space.Float("optimizer.learning_rate", low, high)
            space.Choice("batch_size", [512, 1024] if name == "SGD" else [1024, 8192])
    with space.conditional_scope("optimizer.name", ["LARS"]):
        space.Float("warmup.epochs", 1, 2)
    with space.conditional_scope("optimizer.name", ["SGD"]):
        space.Choice("warmup.epochs", [0.0, 5.0])
    HParamsLog(tmp_path, space, "val_loss")
    infos = plugin_data(tmp_path, metadata.EXPERIMENT_TAG).experiment.hparam_infos
    found = {info.name: info for info in infos}
    assert len(found) == len(infos) == 4
    rate = found["optimizer.learning_rate"].domain_interval
    assert (rate.min_value, rate.max_value) == (0.01, 8.0)
    assert json_format.MessageToDict(found["batch_size"].domain_discrete) == [512, 1024, 8192]
    assert found["warmup.epochs"].WhichOneof("domain") is None


def test_tensorboard_lists_each_trial_with_values_results_and_status(tmp_path):
    log = HParamsLog(tmp_path, a_space(), "val_accuracy", ["seconds"])
    log.add(1, VALUES, {"val_accuracy": 0.75, "seconds": 12.5, "other": 1.0}, "completed", 60.0)
    log.add(2, VALUES, {"val_accuracy": 0.5}, "stopped")  # equal values: a session of its own
    log.add(
        10,
        {**VALUES, "tuner/epochs": 3, "batch_size": None},
        {"val_accuracy": math.nan},
        "diverged",
    )
    log.add(11, {**VALUES, "optimizer.nesterov": False}, {"val_accuracy": None}, "failed")
    groups = sessions(tmp_path)
    assert [group.name for group in groups] == ["0001", "0002", "0010", "0011"]
    first = groups[0]
    numbers = {
        name: first.hparams[name].number_value for name in VALUES if name != "data.standardize"
    }
    assert numbers["optimizer.learning_rate"] == 0.25 and numbers["warmup.epochs"] == 5
    assert first.hparams["data.standardize"].string_value == "per_pixel"
    assert first.hparams["optimizer.nesterov"].bool_value is True
    assert set(groups[2].hparams) == set(VALUES) - {"batch_size"}
    assert [len(group.sessions) for group in groups] == [1] * 4
    ended = [group.sessions[0] for group in groups]
    success, failure = api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE
    assert [session.status for session in ended] == [success, success, failure, failure]
    assert ended[0].end_time_secs - ended[0].start_time_secs == pytest.approx(60.0, abs=0.01)
    metrics = [{value.name.tag: value.value for value in group.metric_values} for group in groups]
    assert metrics == [{"val_accuracy": 0.75, "seconds": 12.5}, {"val_accuracy": 0.5}, {}, {}]


def test_after_a_resumption_every_trial_is_there_once(tmp_path):
    log = HParamsLog(tmp_path, a_space(), "val_accuracy")
    log.add(1, VALUES, {"val_accuracy": 0.5}, "completed")
    log.add(2, VALUES, {"val_accuracy": 0.6}, "failed")
    experiment = next(tmp_path.glob("*tfevents*"))
    before = experiment.read_bytes()
    (tmp_path / "0003").mkdir()  # what a kill may leave
    (tmp_path / "0003" / ".events.out.tfevents.0.tflbt.partial").write_bytes(b"\x07half")
    again = HParamsLog(tmp_path, a_space(), "val_accuracy")
    again.add(2, {**VALUES, "warmup.epochs": 0}, {"val_accuracy": 0.7}, "completed")
    again.add(3, VALUES, {"val_accuracy": 0.8}, "completed")
    assert experiment.read_bytes() == before
    assert len([*tmp_path.rglob("*tfevents*")]) == 4  # one file a folder
    groups = sessions(tmp_path)
    assert [group.name for group in groups] == ["0001", "0002", "0003"]
    assert groups[1].hparams["warmup.epochs"].number_value == 0
    assert groups[1].sessions[0].status == api_pb2.STATUS_SUCCESS
    assert [round(group.metric_values[0].value, 6) for group in groups] == [0.5, 0.7, 0.8]


def test_no_file_stays_open(tmp_path):
    log = HParamsLog(tmp_path, a_space(), "val_accuracy")
    for number in range(1, 31):
        log.add(number, VALUES, {"val_accuracy": 0.5}, "completed")
    opened = Path("/proc/self/fd")
    if not opened.exists():
        pytest.skip("no /proc here to ask which files are open")
    links = [os.readlink(link) for link in opened.iterdir() if link.is_symlink()]
    assert not [link for link in links if str(tmp_path) in link]


@pytest.mark.parametrize("status", ["running", "COMPLETED", ""])
def test_a_status_that_is_no_end_is_named(tmp_path, status):
    log = HParamsLog(tmp_path, a_space(), "val_accuracy")
    with pytest.raises(
        ValueError, match=f"^status='{status}' must be one of 'completed', 'stopped'"
    ):
        log.add(1, VALUES, {}, status)
    assert not (tmp_path / "0001").exists()
