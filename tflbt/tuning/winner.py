"""The winner of a search as a file of plain values, for `--config` to take."""

from __future__ import annotations

import os

from ml_collections import ConfigDict

from tflbt.runs import atomic_file
from tflbt.runs.config import as_plain, to_json


def write_winner(
    path: str | os.PathLike[str], config: ConfigDict, *, trial: int, objective: str, value: float
) -> None:
    """Writes a configuration, named for the recipe that was searched, and how it won; all of the file or none of it.

    `tflbt.recipes.load` returns an equal configuration from the file, which is data: nothing in it is run.

    Raises:
        ValueError: If a value has no JSON form; names the key.
        OSError: If the file cannot be written.
    """
    best = {"trial": trial, "objective": objective, "value": float(value)}
    atomic_file.write(path, to_json({"best": best, "config": as_plain(config)}))
