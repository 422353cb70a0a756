"""`TrustRatioMonitor`: how often the bounds of a layer-wise optimizer change its trust ratios, for tuning them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tflbt.training.keras_internals import plain_optimizer


class TrustRatioMonitor(tf.keras.callbacks.Callback):
    """Logs `bounded_share` at epoch ends: the share of the epoch's trust ratios that the bounds changed.

    Each update has one ratio per adapted variable. Near 0 the bounds do nothing; near 1 the optimizer behaves like its
    inner one at a fixed multiple of the rate. Optimizers without `ratio_bounds`, and those that are not layer-wise, log
    nothing. It does not communicate, as the ratios are the same on every rank.

    Example:
        >>> from tflbt.optimizers import LAMB
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(4,))])
        >>> model.compile(LAMB(1e-9, ratio_bounds=(1e6, 1e7)), "mse")
        >>> x, y = tf.random.stateless_normal([32, 4], [0, 1]), tf.zeros([32, 2])
        >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[TrustRatioMonitor()])
        >>> history.history["bounded_share"]
        [1.0, 1.0]
    """

    def __init__(self) -> None:
        super().__init__()
        self._before = (0, 0)
        self._share: float | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the counts so far."""
        self._share = None
        self._before = self._counts() or (0, 0)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Computes the share of this epoch."""
        counts = self._counts()
        if counts is None:
            return
        bounded, ratios = (after - before for after, before in zip(counts, self._before))
        self._share = bounded / ratios if ratios else 0.0
        if logs is not None:
            logs["bounded_share"] = self._share

    def epoch_state(self) -> dict[str, Any]:
        """What a checkpoint inside an epoch must hold."""
        return {"before": list(self._before)}

    def restore_epoch(self, state: dict[str, Any]) -> None:
        """Goes on inside an epoch."""
        self._before = tuple(state["before"])

    def epoch_columns(self) -> dict[str, Any]:
        """What this callback adds to an epoch's row."""
        return {} if self._share is None else {"bounded_share": self._share}

    def _counts(self) -> tuple[int, int] | None:
        """How many ratios the bounds changed so far, and how many there were; None without bounds."""
        bound_counts = getattr(plain_optimizer(self.model.optimizer), "bound_counts", None)
        return None if bound_counts is None else bound_counts()
