"""`TwoPhaseSchedule`: explore at a large rate, then decay it by beta where loss and curvature rise."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from absl import logging

from tflbt import checks
from tflbt.callbacks.curvature_probe import CurvatureProbe
from tflbt.callbacks.learning_rate import LearningRateFactor, learning_rate
from tflbt.control.plateau import Plateau, patience_of_budget
from tflbt.control.two_phase import TwoPhase
from tflbt.distributed import comm


@checks.arguments
class TwoPhaseSchedule(LearningRateFactor):
    """Switches from exploration to convergence, then decays the learning rate where loss and curvature rise.

    Exploration keeps the learning rate until the training loss has not improved for `patience` epochs, at epoch x, and
    for ceil(x * extra_fraction) more epochs. Convergence multiplies it by `beta` after each epoch whose mean training
    loss and output-layer Hessian eigenvalue both exceed those of the epoch before, but never after two consecutive
    epochs. A second `fit` from epoch 0 starts over at the learning rate that the first one left;
    `fit(initial_epoch=...)` goes on. It works with any Keras optimizer whose rate is a float, in plain Keras and under
    Horovod, where the loss is averaged over the ranks, all samples of `curvature_data` count, and every rank makes and
    logs the same decision. It adds `learning_rate` and, in epochs that measure it, `eigenvalue` to the logs. Every rank
    must run it; it communicates at the ends of epochs.

    Args:
        beta: Decay factor, in (0, 1), default 0.5 (the paper's best; 0.3 to 0.7 were tried).
        patience: Epochs without improvement that make a plateau, at least 1; default None: 5% of the epochs of `fit`.
        extra_fraction: Extra epochs of exploration per epoch up to the plateau, at least 0, default 1/3.
        curvature_data: (x, y[, sample_weight]): one large mini-batch to measure the eigenvalue on, the same arrays on
            every rank; or a function without arguments that returns them, called once at the start of `fit`.
        min_delta: How much lower a loss must be to count as improved, at least 0, default 0.
        min_learning_rate: The rate below which it is never decayed, at least 0, default 0.
        measure_exploration: Whether to measure the eigenvalue in the exploration phase too, as a record; default False.
        iterations: Power iterations per estimate, at least 1, default 10 (the paper's).
        method: "finite_difference" (default, the paper's) or "exact".
        seed: The seed of the start vector, at least 0, default 0.
        sub_batch_size: Samples of `curvature_data` in memory at a time; default None: the model's sub-batch size.
        monitor: The logged loss to follow, default "loss". Epochs without it, as `validation_freq` makes, are counted
            and show nothing; a warning says so.
        begin: Epochs at the beginning whose losses do not count for the plateau, at least 0, default 0. Give it the
            epochs of the warm-up: a loss that rises with the rate would count as flat, though it falls ever since.

    Raises:
        ValueError: If an argument is out of its range or missing; at the start of `fit`, if the optimizer was built
            with a schedule, or `curvature_data` returns something else; at the end of an epoch, if the monitored name
            is not logged.

    Source: Algorithm 1 and section 3.1 of `two-phase.txt`; the rules are `tflbt.control.TwoPhase`'s.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
        >>> y = (x[:, 0] > 0).astype("int64")
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(4,))])
        >>> model.compile(tf.keras.optimizers.SGD(0.5), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> schedule = TwoPhaseSchedule(patience=1, curvature_data=(x, y))
        >>> history = model.fit(x, y, epochs=4, verbose=0, callbacks=[schedule])
        >>> schedule.phase
        'exploration'
    """

    owner = "two_phase"

    def __init__(
        self,
        beta: float = 0.5,
        patience: int | None = None,
        extra_fraction: float = 1 / 3,
        curvature_data: Any = None,
        *,
        min_delta: float = 0.0,
        min_learning_rate: float = 0.0,
        measure_exploration: bool = False,
        iterations: int = 10,
        method: str = "finite_difference",
        seed: int = 0,
        sub_batch_size: int | None = None,
        monitor: str = "loss",
        begin: float = 0.0,
    ) -> None:
        super().__init__()
        checks.number("beta", beta, more_than=0, less_than=1, hint="; the paper's best is 0.5")
        checks.number("min_learning_rate", min_learning_rate, at_least=0)
        checks.text("monitor", monitor)
        self.beta = beta
        self.patience = patience
        self.begin = begin
        self.extra_fraction = extra_fraction
        self.min_delta = min_delta
        self.min_learning_rate = min_learning_rate
        self.measure_exploration = measure_exploration
        self.monitor = monitor
        self.curvature = CurvatureProbe(
            curvature_data,
            iterations=iterations,
            method=method,
            seed=seed,
            sub_batch_size=sub_batch_size,
        )
        self._machine = self._new_machine(1 if patience is None else patience)
        self._has_come = self._noticed = False  # the monitor; that an epoch is without it

    def _new_machine(self, patience: int) -> TwoPhase:
        """Algorithm 1 at its beginning."""
        return TwoPhase(Plateau(patience, self.min_delta), self.extra_fraction, self.begin)

    @property
    def phase(self) -> str:
        """The phase now: "exploration" or "convergence"."""
        return self._machine.phase

    @property
    def decays(self) -> int:
        """The number of decays so far."""
        return self._machine.decays

    @property
    def switch_epoch(self) -> int | None:
        """The epoch (from 1) at whose end the phase switched; None before."""
        return self._machine.switch_epoch

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Gets the curvature data."""
        super().on_train_begin(logs)
        self.curvature.start_training(self.model)

    def _take_up(self, state: dict[str, Any]) -> None:
        self._machine = TwoPhase.from_state(state["machine"])

    def _start_over(self) -> None:
        self._machine = self._new_machine(
            self.patience or patience_of_budget(self.params["epochs"])
        )
        self._rate().fold(self.owner)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Gives the epoch's loss and eigenvalue to Algorithm 1, and carries out its decision."""
        logs = logs if logs is not None else {}
        loss = self._monitored(epoch, logs)
        logs["learning_rate"] = learning_rate(self.model)
        self.curvature.start_epoch()
        if self.measure_exploration:
            self.curvature.measure(self.model)
        decision = self._machine.end_of_epoch(loss, lambda: self.curvature.measure(self.model))
        if self.curvature.eigenvalue is not None:
            logs["eigenvalue"] = self.curvature.eigenvalue
        if decision.switched:
            self._log(epoch, "switches to the convergence phase")
        if decision.decay:
            self._decay()
            self._log(epoch, f"decays the learning rate to {learning_rate(self.model):g}")

    def _monitored(self, epoch: int, logs: dict[str, Any]) -> float | None:
        """The epoch's monitored value; None, with one warning, where it may come, or has come, in other epochs only."""
        if (value := logs.get(self.monitor)) is not None:
            self._has_come = True
            return self._mean_over_ranks(checks.single(self.monitor, value))
        validated = any(name.startswith("val_") for name in logs)
        may_come = self.monitor.startswith("val_") and epoch + 1 < self.params["epochs"]
        if not (self.monitor in logs or self._has_come or (may_come and not validated)):
            raise ValueError(f"monitor={self.monitor!r} is not logged; there are {sorted(logs)}.")
        if not self._noticed:
            self._noticed = True
            logging.warning(
                "TwoPhaseSchedule: epoch %d has no %s, the monitor; epochs without it are counted, and show nothing.",
                *(epoch + 1, self.monitor),
            )
        return None

    def _mean_over_ranks(self, loss: float) -> float:
        """The mean of the ranks' losses, which are equal already for LargeBatchModel, but not for plain Keras."""
        reduction = comm.reduction_of(self.model)
        (total,) = comm.all_reduce_sum(
            [tf.constant(loss, tf.float64)], "tflbt.two_phase.loss", reduction.uncompressed
        )
        return float(total) / reduction.size

    def _decay(self) -> None:
        """Multiplies this callback's factor by beta, as far as the lowest rate allows."""
        rate = self._observed_rate()
        factor = rate.factors.get(self.owner, 1.0)
        others = rate.value / factor
        lowest = min(factor, self.min_learning_rate / others) if others > 0 else 0.0
        self.set_factor(max(factor * self.beta, lowest))

    def _log(self, epoch: int, what: str) -> None:
        """Logs on every rank, to show that all of them decided alike."""
        logging.info("rank %d: two-phase, end of epoch %d: %s", comm.rank(), epoch + 1, what)

    def epoch_columns(self) -> dict[str, Any]:
        """What this callback adds to an epoch's row."""
        return {"phase": self.phase, "decays": self.decays, **self.curvature.epoch_columns()}

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of this callback, as JSON values."""
        return {**super().state(), "machine": self._machine.state()}
