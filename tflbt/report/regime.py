"""The line of a report that calls a run's batch size small, large, huge or full, in comparison with other runs."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, Union

from tflbt.analysis import Run, regime_line, regimes
from tflbt.checks import is_number, is_whole
from tflbt.runs.config import changes_result
from tflbt.runs.history import History, is_accuracy
from tflbt.runs.run_directory import RunDirectory

# What may differ from the baseline in a run of linear scaling alone: the batch, the rate, and the settings of how and
# where a run is computed, not of what is computed.
_NO_TECHNIQUE = {
    *("name", "variant", "seed", "deterministic", "jit_compile"),
    *("batch_size", "sub_batch_size", "optimizer.learning_rate"),
    "epochs",  # which `tflbt.analysis` compares itself
    "schedule.curvature_samples",
}
_SAME = ("data.name", "model.name")
RunLike = Union[RunDirectory, "os.PathLike[str]", str]


def line(run: RunLike, baseline: RunLike, others: Iterable[RunLike] = ()) -> str:
    """Names the regime of a run's batch size by `tflbt.analysis.regimes`, and says why.

    A run counts as linear scaling alone if its configuration equals the baseline's except for the batch and sub-batch
    size, the learning rate, which must be in proportion to the batch, and settings that do not change what is computed
    (seed, checkpoints, ...). A warm-up that the baseline does not have is a technique.

    Args:
        run: Directory of the run to name.
        baseline: Directory of the small-batch run.
        others: Directories of more runs on the same data and network; default none. Repeated ones count once.

    Returns:
        A sentence without a full stop, such as "batch 8,192 is large: 0.9927 is at least 99.5% of ...".

    Raises:
        ValueError: If a run lacks a setting or column that is needed, or has other data or another network.
        OSError: If a run's files cannot be read.

    Source: definitions 2.1 to 2.3 of `limit-of-the-batch-size.txt`.
    """
    first, this = _directory(baseline), _directory(run)
    settings = first.hyper_parameters
    measured = _measured(first, settings)
    planned = settings.get("epochs")
    if isinstance(planned, int) and measured.epochs < planned:
        raise ValueError(
            f"{first.path}: the baseline has {measured.epochs} of its {planned} epochs: finish it with --resume."
        )
    directories = {place.path.resolve(): place for place in (this, *map(_directory, others))}
    directories.pop(first.path.resolve(), None)
    runs = [_measured(directory, settings) for directory in directories.values()]
    named = regimes(measured, runs, _training_samples(first))
    return regime_line(named, _setting(this, "batch_size"))


def _directory(run: RunLike) -> RunDirectory:
    """Returns the run's directory, which must have a configuration."""
    run = run if isinstance(run, RunDirectory) else RunDirectory(run)
    if not run.config_json.exists():
        raise FileNotFoundError(
            2, "no config.json: it holds the batch size, so name a run's directory", str(run.path)
        )
    return run


def _measured(run: RunDirectory, baseline: Mapping[str, Any]) -> Run:
    """Returns a run's result after its last epoch."""
    settings = run.hyper_parameters
    for key in _SAME:
        if settings.get(key) != baseline.get(key):
            raise ValueError(
                f"{run.path}: config.{key}={settings.get(key)!r} is not the baseline's {baseline.get(key)!r}: only "
                "runs on the same data and network can be compared."
            )
    history = History(run.metrics.read())
    if not history.rows:
        raise FileNotFoundError(2, "no epochs to compare", str(run.metrics_csv))
    size, linear = _setting(run, "batch_size"), _is_linear(settings, baseline)
    result = functools.partial(Run, size, epochs=history.epochs[-1], linear_scaling=linear)
    if not math.isfinite(history.rows[-1].get("loss") or 0.0):  # diverged, perhaps in mid-epoch
        return result(accuracy=math.nan, loss=math.nan)
    metric = history.metric
    accuracy = f"val_{metric}" if metric and is_accuracy(metric) else "val_accuracy"
    for column in (accuracy, "val_loss"):
        if history.rows[-1].get(column) is None:
            raise ValueError(
                f"{run.metrics_csv} has no {column} in its last row: a regime depends on the validation accuracy and "
                "loss, so train with validation data and metrics=['accuracy']."
            )
    sizes = {row["batch_size"] for row in history.rows if row.get("batch_size")}
    if len(sizes) > 1:
        raise ValueError(
            f"{run.path}: the batch size changed during the run ({min(sizes)} to {max(sizes)}): a regime is that of "
            "one batch size."
        )
    return result(accuracy=history.series(accuracy)[-1], loss=history.series("val_loss")[-1])


def _setting(run: RunDirectory, key: str) -> Any:
    """Returns a whole number that a configuration must have."""
    value = run.hyper_parameters.get(key)
    if not is_whole(value):
        raise ValueError(
            f"{run.config_json}: {key}={value!r} must be a whole number to name a regime."
        )
    return value


def _is_linear(settings: Mapping[str, Any], baseline: Mapping[str, Any]) -> bool:
    """Whether a run differs from the baseline by linear scaling of the learning rate alone."""
    keys = {*filter(changes_result, settings.keys() | baseline.keys())} - _NO_TECHNIQUE
    rates = [config.get("optimizer.learning_rate") for config in (settings, baseline)]
    if any(settings.get(key) != baseline.get(key) for key in keys):
        return False
    if not all(map(is_number, rates)):
        return False
    return math.isclose(
        rates[0] * baseline["batch_size"], rates[1] * settings["batch_size"], rel_tol=1e-6
    )


def _training_samples(run: RunDirectory) -> int | None:
    """Returns the number of samples per epoch, by those that the whole run has seen; None if these are not logged."""
    history = History(run.metrics.read())
    samples = history.last("distinct_samples") or history.last("samples")
    return round(samples / history.epochs[-1]) if samples else None
