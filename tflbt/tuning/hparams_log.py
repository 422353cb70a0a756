"""TensorBoard's HPARAMS page of a search: its space, and each trial's values and results."""

from __future__ import annotations

import contextlib
import math
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
    """The experiment and one session per trial, for TensorBoard's HPARAMS page; only the chief rank may create it.

    Each trial has a folder with one event file, written whole when the trial ends: no file stays open between trials,
    a kill leaves no half file, and a trial that a resumed search adds again appears once.
    """

    def __init__(
        self, folder: Path, space: Any, objective: str, metrics: Sequence[str] = ()
    ) -> None:
        self._folder = folder
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
        """Writes the session of a trial (from 1) that has ended, in place of an earlier session with the same number.

        Left out are values whose names are not in the space (KerasTuner's own, such as "tuner/epochs"), None, and
        results that are not finite. "completed" and "stopped" are shown as a success.
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
            end = session_end_pb(ending, now)
            tf.summary.experimental.write_raw_pb(end.SerializeToString(), step=0)


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
