"""How Horovod and MPI wait for work where ranks compute on the same cores: settings for before Horovod starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# Horovod wakes up after each to see whether the ranks have something to exchange. Its own default is 1.
CYCLE_MILLISECONDS = 5
YIELD = "mpi_yield_when_idle"


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables to set beside a user's own, which come first: those of `environment` and of Open MPI's files.

    A sum over ranks then begins up to 5 ms after it is asked for, and a rank that waits in MPI leaves its core to one
    that computes.
    """
    wanted = {"HOROVOD_CYCLE_TIME": str(CYCLE_MILLISECONDS)}
    if not any(_names(file, YIELD) for file in _files(environment)):
        wanted[f"OMPI_MCA_{YIELD}"] = "1"
    return {name: value for name, value in wanted.items() if name not in environment}


def _files(environment: Mapping[str, str]) -> list[Path]:
    """Files with Open MPI's settings."""
    home = environment.get("HOME", os.path.expanduser("~"))
    own = f"{home}/.openmpi/mca-params.conf"
    names = environment.get("OMPI_MCA_mca_base_param_files", own)
    return [Path(name) for part in names.split(",") for name in part.split(os.pathsep)]


def _names(file: Path, setting: str) -> bool:
    """Whether a file has a line `setting = value`."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, ValueError):
        return False
    return any(line.partition("=")[0].strip() == setting for line in lines)
