"""`AdaptiveBatchSize`: a batch that grows inside one `fit` as the loss landscape gets flatter."""

from __future__ import annotations

import math
import time
from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.callbacks.batch_size import BatchSizeFactor
from tflbt.callbacks.curvature_probe import CurvatureProbe
from tflbt.callbacks.learning_rate import current_rate, learning_rate
from tflbt.control.adaptive_batch import AdaptiveBatch, check_ratios

REFERENCES = ("initialization", "first_epoch", "after_first_epoch")


@checks.arguments
class AdaptiveBatchSize(BatchSizeFactor):
    r"""Grows batch size and learning rate by `beta` where the Hessian's top eigenvalue has fallen by `alpha` (ABS).

    The reference is the eigenvalue of the initial weights, or of the first epoch: the most positive one, by Lanczos,
    which begins at the eigenvector of the last measurement. The eigenvalue is measured again after each epoch (or every
    `measure_every` samples). If it is below reference / `alpha` (it then becomes the reference), or `kappa`
    measurements have passed without growth, batch size and learning rate are multiplied by `beta` and the adversarial
    share is divided by `omega`. With `fit(adversarial=tflbt.FGSM(...))` this is ABSA. `tflbt.control.AdaptiveBatch`
    states the exact rules, including those for NaN and negative eigenvalues.

    The batch is always a multiple of ranks x sub-batch size: a grown batch is rounded up to the next multiple, and
    `max_batch_size` is rounded down; the learning rate grows in proportion to the rounded batch. A `max_batch_size`
    beyond the data set is lowered to its size (one update per epoch), with a logged notice. At the largest batch
    nothing grows or is measured any more. Nothing is traced again when the batch grows. The learning rate composes with
    tflbt's warm-up and decay callbacks (`tflbt.callbacks.StepDecay` is the paper's decay at fixed epochs).

    It needs a `tflbt.LargeBatchModel`. Under Horovod every rank must run it: all samples of `curvature_data` count, and
    all ranks make and log the same decisions. A second `fit` from epoch 0 starts over; `fit(initial_epoch=...)` goes on
    with the batch size that was reached, whatever its `batch_size` is. It adds `batch_size` and `learning_rate` (of the
    epoch's last update) and `eigenvalue` (the epoch's last; NaN if none was measured) to the logs.

    Args:
        max_batch_size: The largest batch, at least the `batch_size` of `fit`.
        alpha: The eigenvalue must fall by this factor, more than 1, default 2.
        beta: The factor by which batch size and learning rate grow, more than 1, default 2.
        kappa: The batch grows anyway after this many measurements without growth, at least 1, default 10.
        curvature_data: (x, y[, sample_weight]): one batch to measure on (the paper: 128 samples for CIFAR-10), the same
            arrays on every rank; or a function without arguments that returns them, called once at the start of `fit`.
        omega: The adversarial share is divided by this at each growth, at least 1, default 2.
        tau: Epochs after which no samples are adversarial any more, at least 0; default None: half the epochs of `fit`,
            as in the authors' code.
        measure_every: Training samples between measurements, at least 1; default None: after each epoch (the paper uses
            65,536 for SVHN).
        reference: "initialization" (default, the paper's), or "first_epoch": the first measurement, after the first
            epoch or the first `measure_every` samples, which counts towards `kappa`, as in the authors' code. Prefer it
            for networks with BatchNorm, whose moving statistics mean nothing before training: ResNet-20's first
            eigenvalue is 20 times that of its true activations. "after_first_epoch": measured when the first epoch is
            over, and not counted, whatever `measure_every`: for measurements so frequent that the first would come
            before the moving statistics have settled.
        adversarial_at_largest: Whether samples are adversarial at the largest batch too, until tau: default True. In
            the authors' code they end there; the paper does not say.
        scale_learning_rate: Whether the learning rate grows with the batch, default True.
        layers: Whose Hessian: "all" (default), "last_2" (the paper's block Hessian of the last two layers), "output",
            or layer names; see `tflbt.curvature.top_eigenvalue`.
        method: "exact" (default), or "finite_difference" with layers="output".
        iterations: The largest number of Hessian-vector products per measurement, at least 1, default 20.
        tolerance: Relative residual at which a measurement ends earlier, usually after 3 to 6 products; default 0.05.
            The eigenvalue's own error is far smaller.
        seed: The seed of the first start vector, at least 0, default 0; later measurements begin at the last
            eigenvector.
        sub_batch_size: Samples of `curvature_data` in memory at a time; default None: the model's sub-batch size.

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, if the model is not a LargeBatchModel,
            `max_batch_size` is less than the batch that `fit` was given, or the optimizer was built with a schedule.

    Source: Algorithms 1 and 2 and appendix B of `abs-absa.txt`.

    Example:
        >>> import numpy as np, tensorflow as tf, tflbt
        >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
        >>> inputs = tf.keras.Input([4])
        >>> model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
        >>> model.compile(tf.keras.optimizers.SGD(0.01), "mse")
        >>> adaptive = AdaptiveBatchSize(32, kappa=2, curvature_data=(x[:16], x[:16, :1]))
        >>> history = model.fit(x, x[:, :1], batch_size=8, sub_batch_size=8, epochs=5, verbose=0, callbacks=[adaptive])
        >>> history.history["batch_size"]
        [8, 8, 16, 16, 32]
    """

    owner = "adaptive_batch_size"

    def __init__(
        self,
        max_batch_size: int,
        alpha: float = 2.0,
        beta: float = 2.0,
        kappa: int = 10,
        curvature_data: Any = None,
        *,
        omega: float = 2.0,
        tau: int | None = None,
        measure_every: int | None = None,
        reference: str = "initialization",
        adversarial_at_largest: bool = True,
        scale_learning_rate: bool = True,
        layers: Any = "all",
        method: str = "exact",
        iterations: int = 20,
        tolerance: float | None = 0.05,
        seed: int = 0,
        sub_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        check_ratios(alpha, beta, kappa, omega)
        checks.whole("max_batch_size", max_batch_size, at_least=1)
        if tau is not None:
            checks.whole("tau", tau, at_least=0, hint=", or None: half of the epochs")
        if measure_every is not None:
            checks.whole("measure_every", measure_every, at_least=1, hint=", or None: every epoch")
        checks.one_of("reference", reference, REFERENCES)
        self.max_batch_size = max_batch_size
        self.alpha, self.beta, self.kappa, self.omega = alpha, beta, kappa, omega
        self.tau = tau
        self.measure_every = measure_every
        self.reference = reference
        self.adversarial_at_largest = adversarial_at_largest
        self.scale_learning_rate = scale_learning_rate
        self.curvature = CurvatureProbe(
            curvature_data,
            warm_start=True,
            layers=layers,
            method=method,
            solver="lanczos",
            which="largest",
            iterations=iterations,
            tolerance=tolerance,
            seed=seed,
            sub_batch_size=sub_batch_size,
        )
        self._machine: AdaptiveBatch | None = None
        self._initial_batch_size = 0
        self._initial_is_due = False
        self._measured_at = 0  # samples seen at the last measurement
        self._seconds_resizing = 0.0
        self._last: tuple[Any, int] = (0.0, 0)  # learning rate and batch size of the last update
        self._share = 0.0  # adversarial, at the beginning of the epoch

    @property
    def growths(self) -> int:
        """The number of growths so far."""
        return self._machine.growths if self._machine else 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Gets the curvature data."""
        super().on_train_begin(logs)
        self.curvature.start_training(self.model)

    def _take_up(self, state: dict[str, Any]) -> None:
        # On another number of ranks the batch must be a multiple of something else.
        self._machine = AdaptiveBatch.from_state({**state["machine"], "step": self.step})
        self._initial_batch_size = state["initial_batch_size"]
        self._initial_is_due = state["initial_is_due"]
        self._measured_at = state["measured_at"]
        self.curvature.restore(state["curvature"])

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts over or goes on in the first epoch of a `fit`; ends the adversarial samples at epoch tau."""
        self.curvature.start_epoch()
        self._seconds_resizing = 0.0
        super().on_epoch_begin(epoch, logs)
        self._end_adversarial(epoch)
        self._share = self.model.adversarial_share

    def _go_on(self) -> None:
        """Assigns the batch size and the share that were reached, as `fit` began with others."""
        assert self._machine is not None
        self.model.batch_size = self._machine.batch_size
        if self.model.adversarial is not None:
            self.model.adversarial_share = self._share_after_growth()

    def _start_over(self) -> None:
        first, step = self.model.batch_size, self.step
        self._machine = AdaptiveBatch(
            first, self.largest(), step, self.alpha, self.beta, self.kappa, self.omega,
            reference_counts=self.reference == "first_epoch",
        )  # fmt: skip
        if self._machine.at_largest and self.max_batch_size > first:
            self.log(
                f"max_batch_size={self.max_batch_size} is less than the next multiple of {step} (ranks x sub-batch "
                f"size) above {first}: the batch stays as it is"
            )
        self._initial_batch_size = first
        self._initial_is_due = self.reference == "initialization"
        self._measured_at = self.model.samples_seen
        self.curvature.restore({"eigenvector": None})
        self.set_factor(1.0)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures the reference before the first update."""
        if self._initial_is_due:
            self._initial_is_due = False
            self._decide("before the first update")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures and decides after every `measure_every` samples, if that is not None."""
        # Not yet read: the host would wait for the update.
        self._last = tf.convert_to_tensor(current_rate(self.model)), self.model.batch_size
        if self.measure_every is None or self._awaits_first_epoch:
            return
        seen = self.model.samples_seen
        if seen - self._measured_at >= self.measure_every:
            self._measured_at = seen
            self._decide(f"after {seen} samples")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures and decides; ends the adversarial samples at epoch tau."""
        logs = logs if logs is not None else {}
        rate, logs["batch_size"] = self._last
        logs["learning_rate"] = float(rate)
        if self.measure_every is None or self._awaits_first_epoch:
            self._measured_at = self.model.samples_seen
            self._decide(f"end of epoch {epoch + 1}")
        measured = self.curvature.eigenvalue
        logs["eigenvalue"] = math.nan if measured is None else measured
        self._end_adversarial(epoch + 1)

    def _end_adversarial(self, epochs_done: int) -> None:
        """Ends the adversarial samples after tau epochs."""
        tau = self.params["epochs"] // 2 if self.tau is None else self.tau
        if epochs_done >= tau and self.model.adversarial_share:
            self.model.adversarial_share = 0.0
            self.log(f"after epoch {epochs_done}: no more adversarial samples")

    @property
    def _awaits_first_epoch(self) -> bool:
        """True until the end of the first epoch, if nothing is measured before."""
        assert self._machine is not None
        return self.reference == "after_first_epoch" and self._machine.reference is None

    def _decide(self, when: str) -> None:
        """Measures, and carries out what Algorithm 1 decides; at the largest batch there is nothing left to decide."""
        assert self._machine is not None
        if self._machine.at_largest:
            return
        eigenvalue = self.curvature.measure_again(self.model)
        growth = self._machine.measured(eigenvalue)
        if not eigenvalue > 0:
            self.log(f"{when}: the eigenvalue is {eigenvalue:g}, which does not show flatness")
        if growth.reason:
            begin = time.perf_counter()
            self._grow()
            self._seconds_resizing += time.perf_counter() - begin
            self.log(
                f"{when}: eigenvalue {eigenvalue:g}, batch size {self.model.batch_size} and learning rate "
                f"{learning_rate(self.model):g} by {growth.reason}"
            )

    def _grow(self) -> None:
        """Assigns the batch size, learning rate and adversarial share after a growth."""
        assert self._machine is not None
        self.model.batch_size = self._machine.batch_size
        if self.scale_learning_rate:
            self.set_factor(self._machine.batch_size / self._initial_batch_size)
        if self.model.adversarial_share:  # otherwise they ended at tau, or there are none
            self.model.adversarial_share = self._share_after_growth()

    def _share_after_growth(self) -> float:
        """The adversarial share after the growths so far, before tau."""
        assert self._machine is not None
        grown = self._machine.growths > 0
        if grown and self._machine.at_largest and not self.adversarial_at_largest:
            return 0.0
        return self._machine.share(self.model.adversarial.share)

    def epoch_columns(self) -> dict[str, Any]:
        """What this callback adds to an epoch's row."""
        return {
            **self.curvature.epoch_columns(),
            "curvature_products": self.curvature.products,
            "growths": self.growths,
            "adversarial_ratio": self._share,
            "seconds_resizing": self._seconds_resizing,
        }

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of this callback: JSON values and arrays."""
        return {
            **super().state(),
            "machine": self._machine.state() if self._machine else None,
            "initial_batch_size": self._initial_batch_size,
            "initial_is_due": self._initial_is_due,
            "measured_at": self._measured_at,
            "curvature": self.curvature.state(),
        }

    def epoch_state(self) -> dict[str, Any]:
        """What a checkpoint inside an epoch must hold of it."""
        return {
            "curvature": self.curvature.epoch_state(),
            "share": self._share,
            "last": [float(self._last[0]), self._last[1]],
            "seconds_resizing": self._seconds_resizing,
        }

    def restore_epoch(self, state: dict[str, Any]) -> None:
        """Goes on inside an epoch."""
        self.curvature.restore_epoch(state["curvature"])
        self._share, self._seconds_resizing = state["share"], state["seconds_resizing"]
        self._last = tuple(state["last"])
