"""The line of a report that names a run's batch size small, large, huge or full, held against other runs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, Union

from tflbt.analysis import Run, regime_line, regimes
from tflbt.runs.history import History, is_accuracy
from tflbt.runs.run_directory import RunDirectory

# What may differ from the baseline in a run of linear scaling alone: the batch, the rate, and what decides how and
# where a run is computed, but not what is computed.
_NO_TECHNIQUE = (
    "name",
    "variant",
    "seed",
    "deterministic",
    "jit_compile",
    "stall_limit",
    "batch_size",
    "sub_batch_size",
    "epochs",  # which `tflbt.analysis` compares itself
    "optimizer.learning_rate",
    "checkpoint.every",
    "checkpoint.keep",
    "schedule.curvature_samples",
)
_SAME = ("data.name", "model.name")
RunLike = Union[RunDirectory, "os.PathLike[str]", str]


def line(
    run: RunLike,
    baseline: RunLike,
    others: Iterable[RunLike] = (),
) -> str:
    """Names the regime of a run's batch size by `tflbt.analysis.regimes`, and says why.

    A run counts as linear scaling alone if its configuration is the baseline's but for the batch and sub-batch size,
    the learning rate, which must be in proportion to the batch, and settings that do not change what is computed
    (seed, checkpoints, ...). A warm-up that the baseline has not is a technique.

    Args:
        run: Directory of the run to name.
        baseline: Directory of the small-batch run.
        others: Directories of more runs on the same data and network; default none. A directory named twice counts
            once.

    Returns:
        A sentence without a full stop, such as "batch 8,192 is large: 0.9927 is at least 99.5% of ...".

    Raises:
        ValueError: If a run's configuration or metrics lack what is needed, or it has other data or another network.
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
    known = {first.path.resolve()}
    runs = []
    for directory in (this, *map(_directory, others)):
        if directory.path.resolve() not in known:
            known.add(directory.path.resolve())
            runs.append(_measured(directory, settings))
    found = regimes(measured, runs, _training_samples(first))
    return regime_line(found, _setting(this, "batch_size"))


def _directory(run: RunLike) -> RunDirectory:
    """The run's directory, with its configuration."""
    run = run if isinstance(run, RunDirectory) else RunDirectory(run)
    if not run.config_json.exists():
        raise FileNotFoundError(
            2, "no config.json: the batch size of a run is told by its directory", str(run.path)
        )
    return run


def _measured(run: RunDirectory, baseline: Mapping[str, Any]) -> Run:
    """What a run came to after its last epoch."""
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
    if not math.isfinite(history.rows[-1].get("loss") or 0.0):  # diverged, perhaps in mid-epoch
        return Run(
            batch_size=_setting(run, "batch_size"),
            accuracy=math.nan,
            loss=math.nan,
            epochs=history.epochs[-1],
            linear_scaling=_is_linear(settings, baseline),
        )
    metric = history.metric
    for column in (
        f"val_{metric}" if metric and is_accuracy(metric) else "val_accuracy",
        "val_loss",
    ):
        if column not in history.rows[-1] or history.rows[-1][column] is None:
            raise ValueError(
                f"{run.metrics_csv} has no {column} in its last row: a regime is told from the validation accuracy and "
                "loss, so train with validation data and metrics=['accuracy']."
            )
    sizes = {row["batch_size"] for row in history.rows if row.get("batch_size")}
    if len(sizes) > 1:
        raise ValueError(
            f"{run.path}: the batch size changed during the run ({min(sizes)} to {max(sizes)}): a regime is that of "
            "one batch size."
        )
    batch_size = _setting(run, "batch_size")
    return Run(
        batch_size=batch_size,
        accuracy=history.series(f"val_{metric}")[-1],
        loss=history.series("val_loss")[-1],
        epochs=history.epochs[-1],
        linear_scaling=_is_linear(settings, baseline),
    )


def _setting(run: RunDirectory, key: str) -> Any:
    """A number that a configuration must hold."""
    value = run.hyper_parameters.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(
            f"{run.config_json}: {key}={value!r} must be a whole number to tell a regime."
        )
    return value


def _is_linear(settings: Mapping[str, Any], baseline: Mapping[str, Any]) -> bool:
    """Says whether a run differs from the baseline by linear scaling of the learning rate alone."""
    keys = (settings.keys() | baseline.keys()) - set(_NO_TECHNIQUE)
    if any(settings.get(key) != baseline.get(key) for key in keys):
        return False
    rates = [config.get("optimizer.learning_rate") for config in (settings, baseline)]
    if not all(isinstance(rate, (int, float)) for rate in rates):
        return False
    return math.isclose(
        rates[0] * baseline["batch_size"], rates[1] * settings["batch_size"], rel_tol=1e-6
    )


def _training_samples(run: RunDirectory) -> int | None:
    """Samples of an epoch, from those that a whole run has seen; None where they are not logged."""
    history = History(run.metrics.read())
    samples = history.last("distinct_samples") or history.last("samples")
    return round(samples / history.epochs[-1]) if samples else None
