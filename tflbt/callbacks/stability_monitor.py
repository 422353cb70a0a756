"""`StabilityMonitor`: compares the sharpness of mini-batches with the largest at which SGD is stable, 2 / eta."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt import checks
from tflbt.callbacks.curvature_probe import CurvatureProbe, load_data
from tflbt.callbacks.learning_rate import learning_rate
from tflbt.control.stability import StabilityWatch, stability_limit
from tflbt.curvature.samples import MeasuredSamples
from tflbt.distributed import comm
from tflbt.training.keras_internals import plain_optimizer

SGD = (tf.keras.optimizers.SGD, tf.keras.optimizers.legacy.SGD)


@checks.arguments
class StabilityMonitor(tf.keras.callbacks.Callback):
    r"""Measures at the ends of epochs how near SGD is to leaving its minimum; it changes nothing.

    Near a minimum that fits every sample, SGD with learning rate \(\eta\) converges if

    $$\lambda_{\max} = \max_k \max_{|v| = 1} v^\top \langle H \rangle_k v < 2 / \eta$$

    where \(\langle H \rangle_k\) is the Hessian of mini-batch k. Each of `batches` mini-batches is measured by Lanczos
    on exact products, from the same start vector every time, so a resumed run measures the same as an uninterrupted
    one, and checkpoints need not hold anything of it. All errors are on one side: with fewer mini-batches, products or
    layers than all, the result is less than \(\lambda_{\max}\), never more. Larger mini-batches have a smaller
    \(\lambda_{\max}\), so use the batch size of the training to judge it (`batch_size` here and in `fit` are
    independent).

    It logs `stability_eigenvalue` (the largest of the mini-batches), `stability_mean` (their mean, which is far below
    the largest if mini-batches differ), `stability_limit` (2 / eta at the present rate) and, for SGD with momentum,
    `stability_limit_momentum`; `RunLog` also gets `seconds_stability`. The theorem is about plain SGD; with momentum
    the limit is that of one parabola (`tflbt.control.stability`). Rank 0 warns once when the largest goes above the
    optimizer's limit, and notes when it is below again. A warning is no alarm: training at large rates often stays near
    the limit, where SGD wanders to flatter minima; far above it, it diverges. Optimizers other than Keras's SGD have
    other limits: the columns are logged anyway, with one notice and no warnings.

    Measuring a mini-batch costs as much as 15 to 20 of its gradients, so use few and small ones, or every tenth epoch.
    The network runs in inference mode (BatchNorm with its moving statistics, no dropout). Every rank must run it; all
    samples of `curvature_data` count, and every rank gets the same values. Place it before callbacks that change the
    learning rate at the ends of epochs (TwoPhaseSchedule, AdaptiveBatchSize).

    Args:
        curvature_data: (x, y[, sample_weight]), the same arrays on every rank, or a function without arguments that
            returns them, called once at the start of `fit`; mini-batch k is samples k B to (k + 1) B, so shuffle data
            that are sorted by class.
        batch_size: B, samples per mini-batch over all ranks, at least 1; default None: `curvature_data` is cut into
            `batches` equal parts (a remainder is left out).
        batches: The number of mini-batches, at least 1, default 4.
        every: Epochs between measurements, at least 1, default 1.
        layers: Whose Hessian: "all" (default), "last_2", "output", or layer names; a block's eigenvalue is at most that
            of all layers, and costs far less.
        iterations: The largest number of Hessian-vector products per mini-batch, at least 1, default 20.
        tolerance: Relative residual at which a mini-batch's measurement ends earlier, more than 0, default 0.02 (48
            measurements of a small ResNet took 4 to 9 products, all within 0.2%; at 0.05 one stopped 15% too low);
            None: all products.
        seed: The seed of the start vector, at least 0, default 0.
        sub_batch_size: Samples in memory at a time; default None: the model's sub-batch size.

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, if the data have fewer than `batches` x
            `batch_size` samples.

    Source: Theorem 1 of section 4.1 and appendix A of `batch-augmentation.txt`.

    Example:
        >>> x = np.array([[1.0], [2.0], [3.0], [4.0]], "float32")
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, input_shape=(1,))])
        >>> model.compile(tf.keras.optimizers.SGD(0.05), "mse")  # H of a mini-batch is 2 mean x^2
        >>> monitor = StabilityMonitor((x, 0 * x), batches=2)
        >>> history = model.fit(x, 0 * x, epochs=1, verbose=0, callbacks=[monitor]).history
        >>> [round(history[f"stability_{name}"][0], 3) for name in ("eigenvalue", "mean", "limit")]
        [25.0, 15.0, 40.0]
    """

    def __init__(
        self,
        curvature_data: Any,
        batch_size: int | None = None,
        batches: int = 4,
        every: int = 1,
        *,
        layers: Any = "all",
        iterations: int = 20,
        tolerance: float | None = 0.02,
        seed: int = 0,
        sub_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        checks.whole("batches", batches, at_least=1)
        checks.whole("every", every, at_least=1)
        if batch_size is not None:
            checks.whole(
                "batch_size", batch_size, at_least=1, hint=", or None: equal parts of the data"
            )
        self.batch_size = batch_size
        self.batches = batches
        self.every = every
        self._options = {
            "layers": layers,
            "method": "exact",
            "solver": "lanczos",
            "which": "largest",
            "iterations": iterations,
            "tolerance": tolerance,
            "seed": seed,
            "sub_batch_size": sub_batch_size,
        }
        self._source = CurvatureProbe(curvature_data, **self._options).source  # which checks them
        self._probes: list[CurvatureProbe] = []
        self._watch = StabilityWatch()
        self._columns: dict[str, float] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Cuts the mini-batches; notes if the optimizer is not SGD."""
        self._probes = [
            CurvatureProbe(data, **self._options)
            for data in mini_batches(load_data(self._source), self.batches, self.batch_size)
        ]
        for probe in self._probes:
            probe.start_training(self.model)
        self._watch = StabilityWatch()
        optimizer = plain_optimizer(self.model.optimizer)
        if not isinstance(optimizer, SGD) and comm.is_chief():
            logging.info(
                "stability monitor: the limit 2 / eta is that of SGD, not of %s: it is logged, but no warning is given",
                type(optimizer).__name__,
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures, if it is due."""
        for probe in self._probes:
            probe.start_epoch()
        self._columns = {}
        if (epoch + 1) % self.every:
            return
        values = [probe.measure(self.model) for probe in self._probes]
        optimizer, rate = plain_optimizer(self.model.optimizer), learning_rate(self.model)
        self._columns = {
            "stability_eigenvalue": float(np.max(values)),  # NaN if any of them is
            "stability_mean": float(np.mean(values)),
            "stability_limit": stability_limit(rate),
        }
        if isinstance(optimizer, SGD):
            momentum = float(tf.keras.backend.get_value(optimizer.momentum))
            limit = stability_limit(rate, momentum, optimizer.nesterov)
            if momentum:
                self._columns["stability_limit_momentum"] = limit
            self._report(epoch, float(np.max(values)), rate, limit)
        if logs is not None:
            logs.update(self._columns)

    def _report(self, epoch: int, eigenvalue: float, rate: float, limit: float) -> None:
        """Warns when the eigenvalue goes above the limit, and notes when it is below again."""
        side = self._watch.measured(eigenvalue, limit)
        if side is None or not comm.is_chief():
            return
        where = (
            f"stability monitor, end of epoch {epoch + 1}: the largest Hessian eigenvalue of {self.batches} "
            f"mini-batches, {eigenvalue:.4g}, is {side} the limit {limit:.4g} of SGD at learning rate {rate:g}"
        )
        if side == "above":
            logging.warning(
                "%s: it cannot stay in this minimum; a smaller rate or a larger batch may help",
                where,
            )
        else:
            logging.info("%s again", where)

    def epoch_columns(self) -> dict[str, Any]:
        """What this callback adds to an epoch's row."""
        empty = dict.fromkeys(("stability_eigenvalue", "stability_mean", "stability_limit"))
        seconds = sum(probe.seconds for probe in self._probes)
        return {**empty, **self._columns, "seconds_stability": seconds}


def mini_batches(data: Any, batches: int, batch_size: int | None = None) -> list[Any]:
    """Cuts arrays into mini-batches: the k-th has samples k B to (k + 1) B; B is as large as possible by default."""
    count = MeasuredSamples.of(*data).count
    size = int(batch_size or count // batches)
    if not 1 <= size * batches <= count:
        raise ValueError(
            f"batches={batches} of batch_size={batch_size} need {max(size, 1) * batches} samples, and curvature_data "
            f"have {count}: give more data, or fewer or smaller mini-batches."
        )
    parts = [slice(k * size, (k + 1) * size) for k in range(batches)]
    return [tf.nest.map_structure(lambda array, part=part: array[part], data) for part in parts]
