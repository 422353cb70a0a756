"""A rank's program: notes its number in a folder; rank 1 kills mpirun when all are there, and all sleep on."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tflbt.distributed.launcher import mpi_launcher
from tflbt.distributed.watchdog import Watchdog

if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), int(os.environ["OMPI_COMM_WORLD_RANK"])
    with Watchdog(limit=600.0, rank=rank):
        (folder / f".{rank}").write_text(str(os.getpid()))
        (folder / f".{rank}").rename(folder / str(rank))
        while len(list(folder.glob("?"))) < int(os.environ["OMPI_COMM_WORLD_SIZE"]):
            time.sleep(0.01)
        if rank == 1:
            time.sleep(0.5)  # in which the test finds the processes
            mpi_launcher().kill()
        time.sleep(600)
