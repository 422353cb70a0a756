"""`MarginMonitor`: how far training samples are from the decision boundary, every few epochs."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.analysis.margins import COLUMNS, margin_statistics
from tflbt.callbacks.curvature_probe import check_data, load_data, share
from tflbt.curvature.margins import input_margins
from tflbt.distributed import comm


@checks.arguments
class MarginMonitor(tf.keras.callbacks.Callback):
    r"""Logs the accumulated margin of samples at the ends of epochs (Fig. 1 of the two-phase paper); changes nothing.

    The margin of a sample is how far its input is from the decision boundary, to first order, divided by the inputs'
    deviation (`tflbt.curvature.input_margins`). It logs `margin`, the sum of the margins between their quartiles;
    `margin_mean`, their mean; `margin_q1`, `margin_median`, `margin_q3`; and `margin_negative`, the share of samples
    that are misclassified, which dominate early in training. `RunLog` also gets `seconds_margin`.

    In exploration at a large rate the margin keeps growing after the loss has become flat; that is why the two-phase
    schedule explores a third longer.

    Every rank must run it; each measures its share of the samples, and all get the same values, those of one process.
    The cost is about two forward passes over the samples. The network runs in inference mode.

    Args:
        margin_data: (x, y): inputs as in evaluation, standardised and not augmented, and integer labels; the same
            arrays on every rank, or a function without arguments that returns them, called at the start of `fit`. The
            paper takes the whole training set.
        every: Epochs between measurements, at least 1, default 1.
        positive_only: Whether misclassified samples are left out; default False, see
            `tflbt.analysis.margins.margin_statistics`.
        sub_batch_size: Samples in memory at a time, at least 1; default None: the model's sub-batch size.

    Raises:
        ValueError: If an argument is out of its range; at the first measurement, if there are no margins of such data.

    Source: appendix A.1 of `two-phase.txt`.

    Example:
        >>> x, y = np.array([[2.0], [1.0], [-1.0], [-2.0]], "float32"), np.array([0, 0, 1, 1])
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(1,))])
        >>> model.compile("sgd", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> model.set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
        >>> history = model.fit(x, y, epochs=1, verbose=0, callbacks=[MarginMonitor((x, y))]).history
        >>> history["margin_negative"]
        [0.0]
    """

    def __init__(
        self,
        margin_data: Any,
        every: int = 1,
        *,
        positive_only: bool = False,
        sub_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        checks.whole("every", every, at_least=1)
        if sub_batch_size is not None:
            checks.whole("sub_batch_size", sub_batch_size, at_least=1)
        name = "margin_data"
        self.source = margin_data if callable(margin_data) else check_data(margin_data, name=name)
        self.every = every
        self.positive_only = positive_only
        self.sub_batch_size = sub_batch_size
        self._data: tuple[Any, ...] = ()
        self._columns: dict[str, float] = {}
        self._seconds = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Gets the data."""
        self._data = load_data(self.source, "margin_data")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures, if it is due."""
        self._columns, self._seconds = {}, 0.0
        if (epoch + 1) % self.every:
            return
        begin = time.perf_counter()
        reduction = comm.reduction_of(self.model)
        x, y, *_ = share(self._data, reduction)
        plan = getattr(self.model, "batch_plan", None)
        size = self.sub_batch_size or (plan.sub_batch_size if plan is not None else None)
        margins = input_margins(self.model, x, y, sub_batch_size=size, reduction=reduction)
        # Sums round alike in any order: sorted, ranks give what one process does.
        self._columns = margin_statistics(np.sort(margins), self.positive_only)
        self._seconds = time.perf_counter() - begin
        if logs is not None:
            logs.update(self._columns)

    def epoch_columns(self) -> dict[str, Any]:
        """What this callback adds to an epoch's row."""
        empty = dict.fromkeys(COLUMNS)
        return {**empty, **self._columns, "seconds_margin": self._seconds}
