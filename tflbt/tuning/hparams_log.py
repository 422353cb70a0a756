"""TensorBoard's HPARAMS page of a search: its space, and each trial's values and results."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hp
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.summary import session_end_pb

from tflbt import checks
from tflbt.runs import atomic_file
from tflbt.tuning.trial import COMPLETED, STATUSES, STOPPED

# One file per folder, always of this name: a file that is written again replaces the old one.
_FILE = "events.out.tfevents.0.tflbt"


class HParamsLog:
    """The experiment and one session per trial, for TensorBoard's HPARAMS page.

    `tensorboard --logdir FOLDER` shows a table of trials, and their values and results side by side. Each trial has a
    folder with one event file, written whole when the trial ends. So no file stays open between trials, a kill leaves
    no half file, and a trial that a resumed search adds again appears once.

    Only the rank that writes files may create it.

    Args:
        folder: Where the files go; made if missing. An existing file of the experiment is left as it is.
        space: The search's `keras_tuner.HyperParameters`.
        objective: The name of the objective among the results of `add`, such as "val_accuracy".
        metrics: Names of further results to show (default: none).

    Raises:
        OSError: If a file cannot be written.

    Example:
        >>> import keras_tuner
        >>> space = keras_tuner.HyperParameters()
        >>> _ = space.Float("schedule.beta", 0.3, 0.7)
        >>> folder = Path(tempfile.mkdtemp())
        >>> log = HParamsLog(folder, space, "val_accuracy")
        >>> log.add(1, {"schedule.beta": 0.5}, {"val_accuracy": 0.97}, "completed")
        >>> sorted(str(path.relative_to(folder).parent) for path in folder.rglob("*tfevents*"))
        ['.', '0001']
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        space: Any,
        objective: str,
        metrics: Sequence[str] = (),
    ) -> None:
        self._folder = Path(folder)
        names = dict.fromkeys(parameter.name for parameter in space.space)
        self._domains = {n: _domain([p for p in space.space if p.name == n]) for n in names}
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._folder / _FILE).exists():
            with _event_file(self._folder):
                hp.hparams_config(
                    [hp.HParam(name, domain) for name, domain in self._domains.items()],
                    [hp.Metric(name) for name in dict.fromkeys([objective, *metrics])],
                )

    def add(
        self,
        number: int,
        values: Mapping[str, Any],
        results: Mapping[str, float | None],
        status: str,
        seconds: float = 0.0,
    ) -> None:
        """Writes the session of a trial that has ended; a session with the same number is replaced.

        Args:
            number: The trial's, from 1.
            values: Its hyper-parameters by name. Names that are not in the space (KerasTuner's own, such as
                "tuner/epochs") and None are left out.
            results: The objective and other results by name; None and numbers that are not finite are left out.
            status: "completed" and "stopped" are shown as a success, "diverged" and "failed" as a failure.
            seconds: How long the trial took, at least 0 (default 0: unknown).

        Raises:
            ValueError: If the status is another one.
            OSError: If the file cannot be written.
        """
        checks.one_of("status", status, STATUSES)
        name, now = f"{number:04d}", time.time()
        searched = {key: values[key] for key in self._domains if values.get(key) is not None}
        ending = STATUS_SUCCESS if status in (COMPLETED, STOPPED) else STATUS_FAILURE
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        with _event_file(folder):
            # With the number as its identifier, a trial is not merged with another of the same values.
            hp.hparams(searched, trial_id=name, start_time_secs=now - seconds)
            for key, value in results.items():
                if value is not None and math.isfinite(value):
                    tf.summary.scalar(key, float(value), step=0)
            end = session_end_pb(ending, now).SerializeToString()
            tf.summary.experimental.write_raw_pb(end, step=0)


def _domain(declarations: Sequence[Any]) -> hp.Domain | None:
    """Returns the domain that covers a hyper-parameter's declarations; None if they are of several kinds."""
    ranges = [hasattr(parameter, "min_value") for parameter in declarations]  # Int and Float
    if all(ranges):
        low = min(parameter.min_value for parameter in declarations)
        high = max(parameter.max_value for parameter in declarations)
        if isinstance(low, int) and isinstance(high, int):
            return hp.IntInterval(low, high)
        return hp.RealInterval(float(low), float(high))
    lists = [] if any(ranges) else [parameter.values for parameter in declarations]
    values = list(dict.fromkeys(value for choices in lists for value in choices))
    return hp.Discrete(values) if len({type(value) for value in values}) == 1 else None


@contextlib.contextmanager
def _event_file(folder: Path) -> Iterator[None]:
    """Writes the summaries inside to a folder's event file, whole or not at all."""
    with tempfile.TemporaryDirectory() as draft:
        writer = tf.summary.create_file_writer(draft)
        with writer.as_default():
            yield
        writer.close()
        (file,) = Path(draft).iterdir()
        atomic_file.write(folder / _FILE, file.read_bytes())
