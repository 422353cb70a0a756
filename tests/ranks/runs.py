"""What a run directory holds, for comparison with another."""

from __future__ import annotations

import csv
from pathlib import Path

import tensorflow as tf


def rows(run: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without the columns of time."""
    with (run / "metrics.csv").open() as file:
        return [
            {name: value for name, value in row.items() if not name.startswith("seconds")}
            for row in csv.DictReader(file)
        ]


def variables(checkpoint: Path) -> dict[str, bytes]:
    """The bytes of every variable of a checkpoint."""
    reader = tf.train.load_checkpoint(str(checkpoint / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: reader.get_tensor(name).tobytes() for name in names}


def checkpoints(run: Path) -> list[str]:
    """The names of a run's checkpoints."""
    return sorted(path.name for path in (run / "checkpoints").glob("*epoch_*"))


def assert_same_checkpoints(run: Path, whole: Path) -> None:
    """The same names, variables and states."""
    assert checkpoints(run) == checkpoints(whole)
    for name in checkpoints(whole):
        ours, theirs = (place / "checkpoints" / name for place in (run, whole))
        assert variables(ours) == variables(theirs) and len(variables(ours)) > 10
        assert (ours / "state.json").read_text() == (theirs / "state.json").read_text()
