"""TensorBoard's HPARAMS page of a search: its space, and each trial's values and results."""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api as hp
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.summary import session_end_pb
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from tflbt.runs import atomic_file
from tflbt.tuning.trial import COMPLETED, STATUSES, STOPPED

# One file a folder, always of this name: what is written again takes the place of what was there.
_FILE = "events.out.tfevents.0.tflbt"


class HParamsLog:
    """The experiment, and a session a trial, for TensorBoard's HPARAMS page.

    `tensorboard --logdir FOLDER` shows a table of trials, and their values and results side by side. Each trial has a
    folder of its own with one event file, written whole when the trial ends. So no file stays open from one trial to
    the next, a kill leaves no half of one, and a trial that a resumed search adds again is there once.

    Only the rank that writes files may make one.

    Args:
        folder: Where the files go; made if missing. The experiment's file is left as it is if there is one.
        space: The search's `keras_tuner.HyperParameters`.
        objective: The name under which `add` is given the objective, such as "val_accuracy".
        metrics: Names of further results to show beside it (default: none).

    Raises:
        OSError: If a file cannot be written.

    Example:
        >>> import tempfile, keras_tuner
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
        """Writes the experiment, unless an earlier start of the search has."""
        self._folder = Path(folder)
        self._domains = _domains(space.space)
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._folder / _FILE).exists():
            hparams = [hp.HParam(name, domain) for name, domain in self._domains.items()]
            shown = [hp.Metric(name) for name in dict.fromkeys([objective, *metrics])]
            _write(self._folder, [hp.hparams_config_pb(hparams, shown)], time.time())

    def add(
        self,
        number: int,
        values: Mapping[str, Any],
        results: Mapping[str, float | None],
        status: str,
        seconds: float = 0.0,
    ) -> None:
        """Writes the session of a trial that ended; one of the same number is replaced.

        Args:
            number: The trial's, from 1.
            values: Its hyper-parameters by name. Names that are not in the space (KerasTuner's own, such as
                "tuner/epochs") and None are left out.
            results: The objective and other results by name; None and what is not finite are left out.
            status: "completed" and "stopped" are shown as a success, "diverged" and "failed" as a failure.
            seconds: How long the trial took, at least 0 (default 0: not known).

        Raises:
            ValueError: If the status is none of these.
            OSError: If the file cannot be written.
        """
        if status not in STATUSES:
            raise ValueError(f"status={status!r} must be one of {', '.join(STATUSES)}.")
        name, now = f"{number:04d}", time.time()
        known = {one: values[one] for one in self._domains if values.get(one) is not None}
        # The trial's number, for else TensorBoard makes trials of equal values one.
        start = hp.hparams_pb(known, trial_id=name, start_time_secs=now - seconds)
        scalars = [
            scalar_pb(one, float(value))
            for one, value in results.items()
            if value is not None and math.isfinite(value)
        ]
        ended = STATUS_SUCCESS if status in (COMPLETED, STOPPED) else STATUS_FAILURE
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        _write(folder, [start, *scalars, session_end_pb(ended, now)], now)


def _domains(space: Iterable[Any]) -> dict[str, hp.Domain | None]:
    """What each hyper-parameter may be; where it is declared under several conditions, all that it may be then."""
    declared: dict[str, list[Any]] = {}
    for one in space:
        declared.setdefault(one.name, []).append(one)
    return {name: _domain(ones) for name, ones in declared.items()}


def _domain(ones: Sequence[Any]) -> hp.Domain | None:
    """The domain of one hyper-parameter's declarations; None where they are of several kinds."""
    ranges = [hasattr(one, "min_value") for one in ones]  # Int and Float; the others list values
    if all(ranges):
        low, high = min(one.min_value for one in ones), max(one.max_value for one in ones)
        if isinstance(low, int) and isinstance(high, int):
            return hp.IntInterval(low, high)
        return hp.RealInterval(float(low), float(high))
    values = [] if any(ranges) else [*dict.fromkeys(value for one in ones for value in one.values)]
    return hp.Discrete(values) if len({type(value) for value in values}) == 1 else None


def _write(folder: Path, summaries: Iterable[Any], when: float) -> None:
    """Writes an event file with these summaries, whole or not at all."""
    content = io.BytesIO()
    records = RecordWriter(content)
    head = Event(
        wall_time=when, file_version="brain.Event:2", source_metadata=SourceMetadata(writer="tflbt")
    )
    records.write(head.SerializeToString())
    for summary in summaries:  # TensorFlow and TensorBoard have a Summary class each
        event = Event(wall_time=when, summary=Summary.FromString(summary.SerializeToString()))
        records.write(event.SerializeToString())
    atomic_file.write(folder / _FILE, content.getvalue())
