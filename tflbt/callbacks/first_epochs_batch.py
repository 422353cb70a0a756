"""`FirstEpochsBatch`: another batch size and learning rate for the first epochs."""

from __future__ import annotations

from typing import Any

from tflbt import checks
from tflbt.callbacks.batch_size import BatchSizeFactor
from tflbt.callbacks.states.within_epoch import goes_on_inside


@checks.arguments
class FirstEpochsBatch(BatchSizeFactor):
    """Trains the first epochs with another batch size and learning rate than those of `fit` and `compile`.

    In epochs 0 to `epochs` - 1 the batch size is `batch_size`, and the base of the learning rate is `learning_rate`
    instead of the rate that the optimizer was compiled with; then both are as they would be without this callback. The
    paper uses batch 512 and rate 0.005 for the first epoch, and then 8,192 and 0.05, because the first steps of a large
    batch are too small.

    The rate is changed by a factor, `learning_rate` / base, which multiplies those of warm-up and decay callbacks: a
    warm-up over the same epochs begins below `learning_rate` and reaches it at their end. Only one callback may set the
    batch size: use neither GrowBatchSize nor AdaptiveBatchSize beside this one.

    It needs a `tflbt.LargeBatchModel`, and both batch sizes must be a multiple of the `sub_batch_size` of `fit` times
    the number of ranks; nothing is traced again. Under Horovod every rank must run it; no call is collective. Both
    numbers depend on the epoch alone: a second `fit` from epoch 0 starts over, `fit(initial_epoch=...)` goes on.

    Args:
        batch_size: Samples per update in the first epochs, over all ranks, at least 1; smaller or larger than that of
            `fit`.
        learning_rate: The rate of the first epochs, more than 0; default None: the compiled one, scaled linearly with
            the batch (512 of 8,192: a sixteenth).
        epochs: The number of first epochs, at least 1, default 1.

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, if the model is not a LargeBatchModel,
            `batch_size` is not a multiple of ranks x sub-batch size, or the optimizer was built with a schedule or
            (where `learning_rate` is given) with rate 0.

    Source: section 3.2 of `curvature-radius.txt`, Figures 13 and 14.

    Example:
        >>> import tensorflow as tf, tflbt
        >>> inputs = tf.keras.Input([2])
        >>> model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
        >>> model.compile(tf.keras.optimizers.SGD(0.05), "mse")
        >>> x, y = tf.ones([32, 2]), tf.ones([32, 1])
        >>> note = tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print(
        ...     model.batch_size, round(float(model.optimizer.learning_rate), 6), int(model.optimizer.iterations)))
        >>> _ = model.fit(x, y, batch_size=32, sub_batch_size=8, epochs=2, verbose=0,
        ...               callbacks=[FirstEpochsBatch(8, 0.005), note])
        8 0.005 4
        32 0.05 5
    """

    owner = "first_epochs_batch"

    def __init__(
        self, batch_size: int, learning_rate: float | None = None, epochs: int = 1
    ) -> None:
        super().__init__()
        checks.whole("batch_size", batch_size, at_least=1, hint=": the batch of the first epochs")
        checks.whole("epochs", epochs, at_least=1)
        if learning_rate is not None:
            checks.number(
                "learning_rate",
                learning_rate,
                more_than=0,
                hint=", or None: scaled linearly with the batch",
            )
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.epochs = epochs
        self._later: int | None = None  # the batch size after the first epochs; None: not known yet
        self._first_factor = 1.0
        self._epoch = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Raises ValueError if the model's batch cannot change or does not divide, or the rate cannot be set."""
        self._later = None
        super().on_train_begin(logs)
        if self.batch_size % self.step:
            below = self.batch_size // self.step * self.step
            raise ValueError(
                f"batch_size={self.batch_size} of the first epochs is not a multiple of {self.step} (ranks x sub-batch "
                f"size): use {below or self.step}, or give fit a sub_batch_size that divides it."
            )
        if self.learning_rate is not None and not self._rate().base > 0:
            raise ValueError(
                f"learning_rate={self.learning_rate!r} of the first epochs is set as a multiple of the optimizer's, "
                f"which is {self._rate().base}: compile it with a rate more than 0."
            )

    def _take_up(self, state: dict[str, Any]) -> None:
        self._later, self._first_factor = state["later"], state["first_factor"]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Assigns the epoch's batch size and learning rate."""
        first = epoch == 0 and not goes_on_inside(self.model)
        later = self._begin() if first or self._later is None else self._later
        self._epoch = epoch
        first = epoch < self.epochs
        batch_size = self.batch_size if first else later
        if batch_size != self.model.batch_size:
            self.log(f"after {epoch} epochs: batch size {batch_size}")
            self.model.batch_size = batch_size
        self.set_factor(self._first_factor if first else 1.0)

    def _begin(self) -> int:
        """Computes the factor of the first epochs; returns the batch size of the later ones, which is that of `fit`."""
        later = self._later = self.model.batch_size
        if self.learning_rate is None:
            self._first_factor = self.batch_size / later
        else:
            self._first_factor = self.learning_rate / self._rate().base
        return later

    def epoch_columns(self) -> dict[str, Any]:
        """How often the batch has grown, which the epoch's line shows."""
        grown = self._later is not None and self._later > self.batch_size
        return {"growths": int(grown and self._epoch >= self.epochs)}

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of this callback, as JSON values."""
        return {**super().state(), "later": self._later, "first_factor": self._first_factor}
