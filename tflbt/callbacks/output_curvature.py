"""Measures the output layer's top Hessian eigenvalue for callbacks, and keeps account of it."""

from __future__ import annotations

import time
from typing import Any

import tensorflow as tf

from tflbt.curvature import top_eigenvalue
from tflbt.distributed import comm


class OutputCurvature:
    """Estimates the same eigenvalue at every call: the same samples, seed and start.

    Args:
      data: (x, y) or (x, y, sample_weight), the same arrays on every rank; each rank measures its share, and all
        samples count. One large mini-batch is enough (section 3.2 of `two-phase.txt`).
      **options: of `tflbt.curvature.top_eigenvalue` (layers, method, iterations, tolerance, seed, sub_batch_size).

    Attributes:
      eigenvalue: the last estimate, None before the first.
      seconds: time the estimates of this epoch took.
    """

    def __init__(self, data: Any, **options: Any) -> None:
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise ValueError(
                f"curvature_data={type(data).__name__} must be (x, y) or (x, y, sample_weight): samples on which the "
                "eigenvalue is measured, such as the first batch of the training set."
            )
        self.data = tuple(data)
        self.options = options
        self.eigenvalue: float | None = None
        self.seconds = 0.0

    def start_epoch(self) -> None:
        """Forgets the last epoch's estimate and time."""
        self.eigenvalue, self.seconds = None, 0.0

    def measure(self, model: tf.keras.Model) -> float:
        """Returns the eigenvalue at the model's weights; every rank must call it together."""
        if self.eigenvalue is None:
            begin = time.perf_counter()
            reduction = comm.reduction_of(model)
            x, y, *weight = _share(self.data, reduction)
            result = top_eigenvalue(
                model,
                x,
                y,
                sample_weight=weight[0] if weight else None,
                reduction=reduction,
                **self.options,
            )
            self.eigenvalue = comm.broadcast_object(
                float(result.eigenvalue), "tflbt.eigenvalue", reduction
            )
            self.seconds += time.perf_counter() - begin
        return self.eigenvalue

    def epoch_columns(self) -> dict[str, Any]:
        """What an epoch's row says of the curvature."""
        return {"eigenvalue": self.eigenvalue, "seconds_curvature": self.seconds}


def _share(data: tuple[Any, ...], reduction: comm.Reduction) -> tuple[Any, ...]:
    """Every size-th sample, from this rank's on."""
    return tf.nest.map_structure(lambda array: array[reduction.rank :: reduction.size], data)
