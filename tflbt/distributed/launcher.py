"""The environment variables by which a launcher numbers its ranks, read without TensorFlow or Horovod."""

from __future__ import annotations

import os

# Horovod over Gloo, Open MPI, PMIx (Slurm's `srun --mpi=pmix`), PMI (MPICH and Intel MPI).
LAUNCHER_VARIABLES = ("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")


def launched() -> bool:
    """True if an MPI or Horovod launcher started this process."""
    return any(name in os.environ for name in LAUNCHER_VARIABLES)


def rank_by_launcher() -> int:
    """This process's number according to its launcher, 0 without one; `comm.rank` asks Horovod."""
    return next((int(os.environ[name]) for name in LAUNCHER_VARIABLES if name in os.environ), 0)
