"""What a launcher leaves with its ranks: variables that number them, and a process above them; without TensorFlow."""

from __future__ import annotations

import os
from typing import Any

# Horovod over Gloo, Open MPI, PMIx (Slurm's `srun --mpi=pmix`), PMI (MPICH and Intel MPI).
LAUNCHER_VARIABLES = ("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")


def launched() -> bool:
    """True if an MPI or Horovod launcher started this process."""
    return any(name in os.environ for name in LAUNCHER_VARIABLES)


def rank_by_launcher() -> int:
    """This process's number according to its launcher, 0 without one; `comm.rank` asks Horovod."""
    return next((int(os.environ[name]) for name in LAUNCHER_VARIABLES if name in os.environ), 0)


# How the names of Open MPI's launcher begin, and of its daemons on other hosts; versions 4 and 5.
MPI_LAUNCHERS = ("mpirun", "mpiexec", "orterun", "orted", "prterun", "prted")


def mpi_launcher() -> Any:
    """The nearest process above this rank that is Open MPI's, whatever shells are between; None where none is.

    It is a `psutil.Process`. A rank over Gloo has none: its job may have been started inside one of MPI, to stay.
    """
    if "OMPI_COMM_WORLD_RANK" not in os.environ or "HOROVOD_GLOO_RENDEZVOUS_ADDR" in os.environ:
        return None
    import psutil

    try:
        above = psutil.Process().parents()
        return next((each for each in above if each.name().startswith(MPI_LAUNCHERS)), None)
    except psutil.Error:
        return None


def has_ended(process: Any) -> bool:
    """Whether a process of `mpi_launcher` is gone, or dead while its parent does not ask how it ended."""
    import psutil

    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
