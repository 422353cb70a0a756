"""What an update keeps besides the model, and what its parts see of a model."""

from __future__ import annotations

from typing import Any, Protocol

import tensorflow as tf

from tflbt.distributed import comm
from tflbt.training.rules.rule import Rules


class UpdateState:
    """Variables that are not weights and must not be saved with the model.

    Attributes:
        nominal: Samples in a full sub-batch; a sub-batch of n samples has the weight n / nominal.
        samples_seen: Samples of all ranks that went into updates since the model was compiled.
        data_may_end: Whether an update that finds no data ends the epoch, or is passed over.
        seconds: float64 `[3]`, the seconds that updates spent on input, computation and communication.
        moment: When the clock was last read, for `tflbt.training.stopwatch`.
    """

    def __init__(self) -> None:
        self.nominal = tf.Variable(1.0, trainable=False, name="tflbt_nominal")
        self.samples_seen = tf.Variable(
            0, trainable=False, dtype=tf.int64, name="tflbt_samples_seen"
        )
        self.data_may_end = tf.Variable(True, trainable=False, name="tflbt_data_may_end")
        with tf.device("CPU:0"):
            self.seconds = tf.Variable(
                [0.0, 0.0, 0.0], trainable=False, dtype=tf.float64, name="tflbt_seconds"
            )
            self.moment = tf.Variable(0.0, trainable=False, dtype=tf.float64, name="tflbt_moment")


class TrainingModel(Protocol):
    """A LargeBatchModel as the parts of its training see it: what it has beyond a Keras model."""

    @property
    def reduction(self) -> comm.Reduction:
        """How gradients are summed over ranks."""

    @property
    def sub_batches_variable(self) -> tf.Variable:
        """Sub-batches that each rank takes for an update."""

    @property
    def update_state(self) -> UpdateState:
        """What an update keeps besides the model."""

    @property
    def rules(self) -> Rules:
        """What changes or observes an update."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs for inputs, as of every Keras model."""

    def __getattr__(self, name: str) -> Any:
        """What every Keras model has; Keras is not typed."""
