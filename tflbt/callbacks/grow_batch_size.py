"""`GrowBatchSize`: a batch that grows after certain epochs instead of a learning rate that decays (baseline "GG")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tflbt import checks
from tflbt.callbacks.batch_size import BatchSizeFactor
from tflbt.control.grow_batch import check_growth, grown


@checks.arguments
class GrowBatchSize(BatchSizeFactor):
    """Multiplies the batch size by `factor` at given epochs; the learning rate decays where the batch cannot grow.

    After each of `epochs` the ratio learning rate / batch size falls by `factor`, as it does when the learning rate is
    decayed: first because the batch grows, up to `max_batch_size`, and then because the learning rate decays
    (`tflbt.control.grown`). The batch is rounded down to a multiple of ranks x sub-batch size, and the learning rate
    compensates for that.

    It needs a `tflbt.LargeBatchModel`. Under Horovod every rank must run it. Both numbers depend on the epoch alone: a
    second `fit` from epoch 0 starts over, `fit(initial_epoch=...)` goes on.

    Args:
        epochs: After how many epochs to grow, whole numbers, increasing, each more than 0.
        factor: More than 1, default 5 (the inverse of the paper's decay ratio).
        max_batch_size: The largest batch, at least the `batch_size` of `fit`; lowered to the size of the data set, with
            a logged notice.

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, if the model is not a LargeBatchModel,
            the largest batch is less than the first, or the optimizer was built with a schedule.

    Source: Smith et al. 2018, "Don't decay the learning rate, increase the batch size"; "GG" in `abs-absa.txt`.

    Example:
        >>> import tensorflow as tf, tflbt
        >>> inputs = tf.keras.Input([2])
        >>> model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
        >>> model.compile(tf.keras.optimizers.SGD(0.5), "mse")
        >>> x, y = tf.ones([32, 2]), tf.ones([32, 1])
        >>> grow = GrowBatchSize([1, 2], factor=4, max_batch_size=16)
        >>> _ = model.fit(x, y, batch_size=4, sub_batch_size=4, epochs=3, verbose=0, callbacks=[grow])
        >>> model.batch_size, float(model.optimizer.learning_rate)
        (16, 0.125)
    """

    owner = "grow_batch_size"

    def __init__(self, epochs: Sequence[int], factor: float = 5.0, *, max_batch_size: int) -> None:
        super().__init__()
        check_growth(epochs, factor, max_batch_size)
        self.epochs = tuple(epochs)
        self.factor = factor
        self.max_batch_size = max_batch_size
        self._initial_batch_size: Any = None  # until the first fit
        self._largest = max_batch_size
        self._decays = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Raises ValueError if the model's batch cannot change, or is larger than the largest."""
        restored = self._restored is not None
        super().on_train_begin(logs)
        if not restored and self.model.batch_size > self.max_batch_size:
            raise ValueError(
                f"max_batch_size={self.max_batch_size} is less than the batch_size={self.model.batch_size} of fit: use "
                f"at least {self.model.batch_size}."
            )
        self._largest = self.largest()

    def _take_up(self, state: dict[str, Any]) -> None:
        self._initial_batch_size = state["initial_batch_size"]

    def _start_over(self) -> None:
        self._initial_batch_size = self.model.batch_size

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Assigns the epoch's batch size and learning rate."""
        super().on_epoch_begin(epoch, logs)
        self._decays, batch_size, factor = self._in(epoch)
        if batch_size != self.model.batch_size:
            self.log(f"after {epoch} epochs: batch size {batch_size}")
            self.model.batch_size = batch_size
        self.set_factor(factor)

    def _in(self, epoch: int) -> tuple[int, int, float]:
        """Milestones passed, the batch size and the rate's factor of an epoch."""
        decays = sum(epoch >= milestone for milestone in self.epochs)
        batch_size, factor = grown(
            self._initial_batch_size,
            decays,
            factor=self.factor,
            max_batch_size=self._largest,
            step=self.step,
        )
        return decays, batch_size, factor

    def batch_size_of(self, epoch: int) -> int:
        """The batch size of an epoch of this `fit`."""
        return self._in(epoch)[1]

    def epoch_columns(self) -> dict[str, Any]:
        """What this callback adds to an epoch's row."""
        return {"decays": self._decays}

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of this callback, as JSON values."""
        return {**super().state(), "initial_batch_size": self._initial_batch_size}
