"""`CurvatureProbe`: measures a top Hessian eigenvalue for callbacks, and counts what that costs."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.curvature import top_eigenvalue
from tflbt.curvature.estimate import check_options
from tflbt.curvature.samples import MeasuredSamples
from tflbt.distributed import comm


class CurvatureProbe:
    """Estimates the same eigenvalue at every call: with the same samples, seed and options of `top_eigenvalue`.

    The data are (x, y[, sample_weight]), the same arrays on every rank, or a function that returns them, which is
    called at the start of each `fit`; one with a method `of_rank(rank, size)` is asked for this rank's samples alone.
    Each rank measures its share, and all samples count. One mini-batch is enough (section 3.2 of `two-phase.txt`). With
    `warm_start` it begins at the last estimate's eigenvector, which takes fewer products.

    Attributes:
        eigenvalue: The last estimate, None before the first.
        products: Hessian-vector products of this epoch's estimates.
        seconds: How long the estimates of this epoch took.
    """

    def __init__(self, data: Any, *, warm_start: bool = False, **options: Any) -> None:
        check_options(**options)
        self.source = data if callable(data) else check_data(data)
        self.warm_start = warm_start
        self.options = options
        self.eigenvalue: float | None = None
        self.products = 0
        self.seconds = 0.0
        self._data: tuple[Any, ...] | None = None  # this rank's share
        self._eigenvector: tuple[np.ndarray, ...] | None = None

    def start_training(self, model: tf.keras.Model) -> None:
        """Gets the data; uses the sub-batch size of the training, if `options` have `sub_batch_size=None`."""
        reduction = comm.reduction_of(model)
        of_rank = getattr(self.source, "of_rank", None)
        if of_rank is None:
            self._data = share(load_data(self.source), reduction)
        else:
            self._data = load_data(lambda: of_rank(reduction.rank, reduction.size))
        plan = getattr(model, "batch_plan", None)
        if plan is not None and self.options.get("sub_batch_size", 0) is None:
            self.options["sub_batch_size"] = plan.sub_batch_size

    def warm_up(self, model: tf.keras.Model) -> None:
        """Compiles what a measurement runs, and forgets what it gives."""
        before = self.state()
        self.start_training(model)
        self.measure_again(model)
        self.start_epoch()
        self.restore(before)

    def start_epoch(self) -> None:
        """Resets the last epoch's estimate and costs."""
        self.eigenvalue, self.products, self.seconds = None, 0, 0.0

    def measure(self, model: tf.keras.Model) -> float:
        """Returns the eigenvalue, measured at most once per epoch; all ranks must call it together."""
        return self.measure_again(model) if self.eigenvalue is None else self.eigenvalue

    def measure_again(self, model: tf.keras.Model) -> float:
        """Returns the eigenvalue at the model's present weights; all ranks must call it together."""
        begin = time.perf_counter()
        reduction = comm.reduction_of(model)
        x, y, *weight = self._data or ()
        result = top_eigenvalue(
            model,
            x,
            y,
            sample_weight=weight[0] if weight else None,
            start_vector=self._eigenvector,
            reduction=reduction,
            **self.options,
        )
        if self.warm_start and np.isfinite(result.eigenvalue):
            self._eigenvector = result.eigenvector
        self.eigenvalue = comm.broadcast_object(
            float(result.eigenvalue), "tflbt.eigenvalue", reduction
        )
        self.products += result.iterations
        self.seconds += time.perf_counter() - begin
        return self.eigenvalue

    def epoch_columns(self) -> dict[str, Any]:
        """What an epoch's row holds of the curvature."""
        return {"eigenvalue": self.eigenvalue, "seconds_curvature": self.seconds}

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold so that a resumed run measures the same: JSON values and arrays."""
        return {"eigenvector": self._eigenvector and list(self._eigenvector)}

    def epoch_state(self) -> dict[str, Any]:
        """What a checkpoint inside an epoch must hold of it."""
        return {"eigenvalue": self.eigenvalue, "products": self.products, "seconds": self.seconds}

    def restore_epoch(self, state: dict[str, Any]) -> None:
        """Takes up an `epoch_state()`."""
        self.eigenvalue, self.products = state["eigenvalue"], state["products"]
        self.seconds = state["seconds"]

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up a `state()`."""
        found = state["eigenvector"]
        self._eigenvector = tuple(found) if found else None


def check_data(data: Any, source: str = "", name: str = "curvature_data") -> tuple[Any, ...]:
    """Returns a callback's data as a tuple; raises ValueError unless it is (x, y) or (x, y, sample_weight)."""
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise ValueError(
            f"{name}={source or type(data).__name__} must be (x, y) or (x, y, sample_weight): samples on which "
            "it is measured, such as the first batch of the training set; or a function without arguments "
            "that returns them."
        )
    return tuple(data)


def load_data(source: Any, name: str = "curvature_data") -> tuple[Any, ...]:
    """Returns the arrays of a callback's data; raises ValueError unless they have as many samples each."""
    data = source
    if callable(source):
        data = source()
        data = check_data(data, f"a function that returned {type(data).__name__}", name)
    try:
        MeasuredSamples.of(*data)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return data


def share(data: tuple[Any, ...], reduction: comm.Reduction) -> tuple[Any, ...]:
    """This rank's samples: every size-th one, beginning at the rank's number."""
    return tf.nest.map_structure(lambda array: array[reduction.rank :: reduction.size], data)
