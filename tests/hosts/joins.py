"""A rank's program: trains elastically; after the third epoch it waits until a rank on the other host is announced.

python joins.py FOLDER
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import numpy as np

import tflbt
from tests.elastic import growing
from tflbt import elastic
from tflbt.distributed import comm

ARGUMENTS = {**growing.FIT, "epochs": 5}


class Hosts(growing.Plan):
    """Notes on which hosts the ranks of each epoch are."""

    def on_epoch_begin(self, epoch, logs=None):
        with (self.folder / f"epoch-{epoch}").open("a") as file:
            file.write(f"{comm.rank()} {socket.gethostname()}\n")

    def on_train_batch_end(self, batch, logs=None):
        """All live."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2 and comm.size() == 1:
            self.await_event("announces 10.9.0.2-0-")


def main():
    tflbt.init()
    folder, model = Path(sys.argv[1]), growing.compiled()
    grow = growing.callbacks(folder)[0]
    elastic.fit(
        model,
        growing.X,
        growing.Y,
        samples_per_rank=16,
        callbacks=[grow, Hosts(folder)],
        **ARGUMENTS,
    )
    if comm.rank() == 0:
        np.savez(folder / "end.npz", *model.get_weights())


if __name__ == "__main__":
    main()
