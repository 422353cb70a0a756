"""What a launcher leaves in the environment of the ranks it starts; read without TensorFlow or Horovod."""

from __future__ import annotations

import os

# Horovod over Gloo, Open MPI, PMIx (Slurm's `srun --mpi=pmix`), PMI (MPICH and Intel MPI).
LAUNCHER_VARIABLES = ("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")


def launched() -> bool:
    """Says whether an MPI or Horovod launcher started this process."""
    return any(name in os.environ for name in LAUNCHER_VARIABLES)


def rank_by_launcher() -> int:
    """This process's number as its launcher told it, 0 without one; `comm.rank` is Horovod's own word.

    Example:
        >>> rank_by_launcher()
        0
    """
    return next((int(os.environ[name]) for name in LAUNCHER_VARIABLES if name in os.environ), 0)
