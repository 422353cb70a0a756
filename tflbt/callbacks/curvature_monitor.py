"""`CurvatureMonitor`: records top Hessian eigenvalues every few epochs, whatever the schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.callbacks.curvature_probe import CurvatureProbe

BLOCKS = ("output", "last_2", "all")


@checks.arguments
class CurvatureMonitor(tf.keras.callbacks.Callback):
    """Measures the output layer's eigenvalue at the ends of epochs and logs it as `eigenvalue`; it changes nothing.

    With `blocks` it measures the Hessians of several parts of the network, each in a column of its own, such as
    `eigenvalue_last_2` beside `eigenvalue_all` (Fig. 6 of `abs-absa.txt`), also where a schedule logs an `eigenvalue`
    or has ended its measurements. Every rank must run it; it communicates at the ends of the epochs in which it
    measures.

    Args:
        curvature_data: (x, y[, sample_weight]), the same arrays on every rank, or a function without arguments that
            returns them, called at the start of `fit`.
        every: Epochs between measurements, at least 1, default 1.
        blocks: Some of "output", "last_2" and "all", as in `layers` of `tflbt.curvature.top_eigenvalue`; the latter two
            by exact products. Default (): one column, by the options alone.
        **options: Options of `tflbt.curvature.top_eigenvalue`, without `layers` where there are blocks.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> x, y = tf.random.stateless_normal([32, 4], [0, 1]), tf.zeros([32], tf.int64)
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(4,))])
        >>> model.compile("sgd", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> monitor = CurvatureMonitor((x, y), blocks=("output", "all"))
        >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[monitor])
        >>> sorted(history.history)
        ['eigenvalue_all', 'eigenvalue_output', 'loss']
    """

    def __init__(
        self,
        curvature_data: Any,
        every: int = 1,
        *,
        blocks: Sequence[str] | str = (),
        **options: Any,
    ) -> None:
        super().__init__()
        checks.whole("every", every, at_least=1)
        self.every = every
        if isinstance(blocks, str) or len(set(blocks)) < len(tuple(blocks)):
            raise ValueError(f"blocks={blocks!r} must be different names, such as {BLOCKS!r}.")
        if blocks and "layers" in options:
            raise ValueError(
                f"layers={options['layers']!r} is said by blocks={blocks!r}: leave it out."
            )
        self._probes: dict[str, CurvatureProbe] = {}
        for block in blocks:
            checks.one_of("blocks", block, BLOCKS)
            exact = {} if block == "output" else {"method": "exact"}
            chosen = {**exact, **options, "layers": block}
            self._probes[f"eigenvalue_{block}"] = CurvatureProbe(curvature_data, **chosen)
        if not blocks:
            self._probes["eigenvalue"] = CurvatureProbe(curvature_data, **options)
        self.curvature = next(iter(self._probes.values()))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Gets the data."""
        for probe in self._probes.values():
            probe.start_training(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures, if it is due."""
        for column, probe in self._probes.items():
            probe.start_epoch()
            if (epoch + 1) % self.every == 0:
                eigenvalue = probe.measure(self.model)
                if logs is not None:
                    logs[column] = eigenvalue

    def epoch_columns(self) -> dict[str, Any]:
        """What this callback adds to an epoch's row."""
        if "eigenvalue" in self._probes:
            return self.curvature.epoch_columns()
        seconds = sum(probe.seconds for probe in self._probes.values())
        values = {column: probe.eigenvalue for column, probe in self._probes.items()}
        return {**values, "seconds_curvature_monitor": seconds}
