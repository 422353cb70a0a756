"""Open the Hessian of a model's loss, from which every estimate gets its products."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.curvature.block import Block, block_of
from tflbt.curvature.halves import Uncuttable
from tflbt.curvature.power_iteration import MatVec, power_loop, result_of
from tflbt.curvature.products import fitted_step
from tflbt.curvature.result import EigenResult
from tflbt.curvature.samples import MeasuredSamples
from tflbt.curvature.selection import variables_of
from tflbt.curvature.total_loss import TotalLoss, total_loss_of
from tflbt.curvature.whole_model import moved_variables, preserved, whole_model
from tflbt.distributed import comm


@dataclasses.dataclass(frozen=True, eq=False)
class Hessian:
    """A Hessian as its estimates see it: something that multiplies vectors, one tensor per weight.

    Every rank must call `matvec` together; `loop` is `power_loop` around it, compiled where that is possible.
    """

    shapes: list[tuple[int, ...]]
    dtype: tf.DType
    matvec: MatVec
    loop: Callable[..., Any]

    @property
    def parameters(self) -> int:
        """Number of weights, the length of a flat vector."""
        return sum(math.prod(shape) for shape in self.shapes)

    def product(self, flat: np.ndarray) -> np.ndarray:
        """Return Hv for a flat vector."""
        image = self.matvec([tf.constant(part) for part in self.split(flat)])
        return np.concatenate([part.numpy().ravel() for part in image])

    def split(self, flat: np.ndarray) -> tuple[np.ndarray, ...]:
        """Cut a flat vector into one array per weight."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])[:-1]
        return tuple(p.reshape(shape) for p, shape in zip(np.split(flat, ends), self.shapes))

    def checked(self, name: str, vector: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return a caller's vector in the Hessian's type; raises ValueError unless its shapes are the variables'."""
        shapes = [np.shape(part) for part in vector]
        if shapes != self.shapes:
            raise ValueError(f"{name} has shapes {shapes}, the variables have {self.shapes}")
        return [np.asarray(part, self.dtype.as_numpy_dtype) for part in vector]

    def start(self, seed: int, vector: Sequence[np.ndarray] | None) -> list[np.ndarray]:
        """Return the caller's start vector, or normal numbers, the same on every rank."""
        if vector is None:
            random = np.random.default_rng(seed)
            dtype = self.dtype.as_numpy_dtype
            return [random.standard_normal(shape).astype(dtype) for shape in self.shapes]
        checked = self.checked("start_vector", vector)
        if not any(np.any(part) for part in checked):
            raise ValueError("start_vector is zero: give a vector with a direction, or None")
        return checked

    def power(
        self, start: Sequence[np.ndarray], iterations: int, tolerance: float | None
    ) -> EigenResult:
        """Run `power_loop` from `start`."""
        vector = [tf.constant(part) for part in start]
        return result_of(self.loop, vector, tf.constant(iterations), tolerance)


@contextlib.contextmanager
def hessian_of(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    *,
    layers: str | Sequence[str] = "output",
    method: str = "exact",
    sample_weight: Any = None,
    sub_batch_size: int | None = None,
    loss: Any = None,
    step: float | None = None,
    reduction: comm.Reduction | None = None,
    regularization: bool = False,
) -> Iterator[Hessian]:
    """Yield the Hessian at the model's weights, which are unchanged afterwards; for arguments see `top_eigenvalue`."""
    samples = MeasuredSamples.of(x, y, sample_weight, sub_batch_size)
    if not model.built:
        raise ValueError(f"model {model.name!r} is not built: call it on a batch, or build it")
    total_loss = total_loss_of(model, loss, regularization)
    # Gradients may be compressed on their way between ranks; differences of them may not.
    agreed = (reduction or comm.EVERYONE).uncompressed
    try:
        block: Any = None if layers == "all" else block_of(model, samples, layers)
        head = block and _of_head(block, total_loss, method, samples, agreed, step)
        if head is not None:
            yield head
            return
        variables = variables_of(model, layers) if block is None else block.variables
        whole = whole_model(model, variables, total_loss, samples)
        dtype = variables[0].dtype
        moved = moved_variables(whole.gradient)
        with preserved(moved), preserved([] if method == "exact" else variables):
            if method == "exact":
                matvec = whole.exact(samples, agreed)
            else:
                length = fitted_step(step, block.last_inputs(samples), variables, dtype, agreed)
                matvec = whole.finite_difference(samples, length, agreed)
            loop = functools.partial(power_loop, matvec)
            yield Hessian(_shapes(variables), dtype, matvec, loop)
    except Exception as error:
        operation = _undifferentiable(error)
        if operation is None:
            raise
        raise ValueError(
            f"layers={layers!r}: operation {operation} has no second derivative in TensorFlow, so "
            "there is no exact Hessian through it. Replace the layer that uses it, or choose "
            'layers behind it (layers="output", "last_2"); for the output layer '
            'top_eigenvalue(method="finite_difference") needs first derivatives only'
        ) from error


def _of_head(
    block: Block,
    total_loss: TotalLoss,
    method: str,
    samples: MeasuredSamples,
    reduction: comm.Reduction,
    step: float | None,
) -> Hessian | None:
    """Run the network once and return the Hessian of the head alone; None, after a notice, if it cannot be cut."""
    if block.saves_nothing:
        return None
    try:
        operator = block.operator(total_loss, method, samples, reduction)
        operator.head.load()
        batch = operator.batch(samples, block.run_features(samples), step)
    except Uncuttable as reason:
        block.warn(str(reason), method)
        return None
    return Hessian(
        _shapes(operator.head.variables),
        operator.head.dtype,
        lambda vector: operator.product(*batch, vector),
        lambda *search: operator.solve(*batch, *search),
    )


def _shapes(variables: Sequence[tf.Variable]) -> list[tuple[int, ...]]:
    return [tuple(variable.shape) for variable in variables]


def _undifferentiable(error: BaseException | None) -> str | None:
    """Return the operation named in TensorFlow's error about a missing derivative, if it is one."""
    while error is not None:
        match = re.search(
            r"No gradient defined for operation\s*'([^']+)'|gradient registry has no entry for: (\w+)"
            r"|(Gradient explicitly disabled.*)",
            str(error),
        )
        if match:
            return next(group for group in match.groups() if group)
        error = error.__cause__ or error.__context__
    return None
