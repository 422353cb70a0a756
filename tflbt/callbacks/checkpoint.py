"""`Checkpoint`: checkpoints that include callbacks' state, so that a resumed run equals an uninterrupted one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.distributed import comm
from tflbt.training.checkpoint import Checkpoints, restore_together, write_together


class Checkpoint(tf.keras.callbacks.Callback):
    """Writes a checkpoint every few epochs and after the last one; `resume` continues from the newest intact one.

    Unlike Keras's BackupAndRestore it saves the state of callbacks (phase, plateau counter, learning-rate factors), the
    batch size and the samples seen. Place it last among the callbacks. Under Horovod every rank must run it; the chief
    writes, and a write that fails raises OSError on all of them.

    Args:
        directory: Where to write the checkpoints.
        callbacks: The callbacks of this `fit` whose state to save: those with `state()` and `restore(state)`; others
            are ignored.
        every: Epochs between checkpoints, at least 1, default 1.
        keep: How many of the newest checkpoints to keep, at least 1, default 2.

    Raises:
        ValueError: If an argument is out of its range.
        FileExistsError: At the start of `fit`, if the directory holds checkpoints of another run and `resume` was not
            called.
        OSError: At an epoch's end, if the checkpoint cannot be written; earlier ones are intact.

    Example:
        >>> import tempfile
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,))])
        >>> model.compile("sgd", "mse")
        >>> checkpoint = Checkpoint(tempfile.mkdtemp())
        >>> x, y = tf.ones([8, 2]), tf.ones([8, 1])
        >>> _ = model.fit(x, y, epochs=2, verbose=0, initial_epoch=checkpoint.resume(model), callbacks=[checkpoint])
        >>> checkpoint.resume(model)
        2
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        callbacks: Iterable[tf.keras.callbacks.Callback] = (),
        every: int = 1,
        keep: int = 2,
    ) -> None:
        super().__init__()
        checks.whole("every", every, at_least=1)
        self.checkpoints = Checkpoints(Path(directory), keep)
        self.every = every
        self.batch_size: int | None = None  # that the restored run had reached
        self._ours = False  # whether the checkpoints in the directory belong to this run
        self._stateful: dict[str, Any] = {}
        for callback in callbacks:
            if hasattr(callback, "state") and hasattr(callback, "restore"):
                name = type(callback).__name__
                self._stateful[
                    f"{name}_{len(self._stateful)}" if name in self._stateful else name
                ] = callback

    def resume(self, model: tf.keras.Model) -> int:
        """Restores the newest intact checkpoint, if any, into a built, compiled model and the callbacks.

        Returns:
            The number of finished epochs, for `fit(initial_epoch=...)`; 0 if there is no checkpoint.

        Raises:
            ValueError: If the checkpoint belongs to another model or optimizer, or all of them are damaged.
        """
        state = restore_together(self.checkpoints, model)
        self._ours = True
        if state is None:
            return 0
        for name, callback_state in state["callbacks"].items():
            if name in self._stateful:
                self._stateful[name].restore(callback_state)
        if state.get("samples_seen") is not None:
            model.samples_seen = state["samples_seen"]
        self.batch_size = state.get("batch_size")
        return int(state["epochs"])

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Raises FileExistsError on every rank if the directory holds checkpoints of another run."""
        if not self._ours:
            reduction = comm.reduction_of(self.model)
            comm.on_chief(self._require_empty, "tflbt.checkpoint.directory", reduction)
        self._ours = True

    def _require_empty(self) -> None:
        """Raises if there are checkpoints."""
        found = self.checkpoints.found()
        if found:
            raise FileExistsError(
                errno.EEXIST,
                f"this holds checkpoints of another run, up to {found[-1].name}: call resume(model) before fit to go "
                "on from them, or give Checkpoint another directory",
                str(self.checkpoints.directory),
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes a checkpoint, if it is due or this is the last epoch."""
        last = epoch + 1 == self.params.get("epochs") or self.model.stop_training
        if (epoch + 1) % self.every == 0 or last:
            write_together(self.checkpoints, self.model, epoch + 1, self._state())

    def _state(self) -> dict[str, Any]:
        """What a checkpoint holds besides weights and slots."""
        return {
            "callbacks": {name: callback.state() for name, callback in self._stateful.items()},
            "samples_seen": getattr(self.model, "samples_seen", None),
            "batch_size": getattr(self.model, "batch_size", None),
        }
