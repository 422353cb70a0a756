"""Open the Hessian of a model's loss, from which every estimate gets its products."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt.curvature.block import Block, block_of
from tflbt.curvature.halves import Uncuttable
from tflbt.curvature.power_iteration import MatVec, power_loop
from tflbt.curvature.products import DEFAULT_STEPS, input_squares, step_length
from tflbt.curvature.samples import MeasuredSamples, without_nones
from tflbt.curvature.selection import variables_of
from tflbt.curvature.total_loss import TotalLoss, total_loss_of
from tflbt.curvature.whole_model import preserved, whole_model
from tflbt.distributed import comm


@dataclasses.dataclass(frozen=True, eq=False)
class Hessian:
    """A Hessian as its estimates see it: something that multiplies vectors.

    Args:
        shapes: The weights' shapes.
        dtype: The type of vectors and products.
        matvec: Gives Hv for one tensor per weight; every rank must call it together.
        loop: `power_loop` around `matvec` as one compiled function
            `(start, iterations, tolerance)`, where there is one.
    """

    shapes: list[tuple[int, ...]]
    dtype: tf.DType
    matvec: MatVec
    loop: Callable[..., Any] | None = None

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
        """Return a caller's vector in the Hessian's type.

        Raises:
            ValueError: Its shapes are not those of the variables.
        """
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

    def power(self, start: Sequence[np.ndarray], iterations: int, tolerance: float) -> tuple:
        """Run `power_loop` from `start`."""
        vector = [tf.constant(part) for part in start]
        if self.loop is None:
            return power_loop(self.matvec, vector, iterations, tolerance)
        return self.loop(vector, tf.constant(iterations), tf.constant(tolerance, self.dtype))


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
    """Check the arguments, cut or trace the model, and yield the Hessian at its present weights.

    What the model's passes may write is put back at the end of the block, also after an exception.

    Args:
        model: See `estimate.top_eigenvalue`, also for all that follows.
        x: Inputs.
        y: Targets.
        layers: Which weights.
        method: Default "exact"; or "finite_difference", for the output layer only.
        sample_weight: Weights of the samples.
        sub_batch_size: Samples at once.
        loss: In place of the compiled one.
        step: Of finite differences.
        reduction: Ranks that add up.
        regularization: Whether the model's own loss terms count.

    Yields:
        The `Hessian`, good inside the block.

    Raises:
        ValueError: As `estimate.top_eigenvalue`.
    """
    samples = MeasuredSamples.of(x, y, sample_weight, sub_batch_size)
    if not model.built:
        raise ValueError(f"model {model.name!r} is not built: call it on a batch, or build it")
    total_loss = total_loss_of(model, loss)
    # Gradients may be compressed on their way between ranks; differences of them may not.
    agreed = (reduction or comm.EVERYONE).uncompressed
    task = _Request(model, samples, total_loss, method, step, agreed, regularization)
    try:
        with task.open(layers) as hessian:
            yield hessian
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


@dataclasses.dataclass(frozen=True, eq=False)
class _Request:
    """Arguments, checked, and the ways to a Hessian."""

    model: tf.keras.Model
    samples: MeasuredSamples
    total_loss: TotalLoss
    method: str
    step: float | None
    reduction: comm.Reduction
    regularization: bool

    def open(self, layers: str | Sequence[str]):
        """Return the context of the Hessian: of the whole model, or of a block by the shortest way."""
        if layers == "all":
            return self._whole(variables_of(self.model, layers))
        block = block_of(self.model, self.samples, layers)
        if block.reason is None and not block.saves_nothing:
            try:
                return contextlib.nullcontext(self._head(block))
            except Uncuttable as reason:
                block.reason = str(reason)
        if block.reason is not None:
            self._notice(block)
        return self._whole(block.variables, block)

    def _head(self, block: Block) -> Hessian:
        """Run the network once and return the products of the head alone."""
        operator = block.operator(
            self.total_loss, self.method, self.samples, self.reduction, self.regularization
        )
        head = operator.head
        head.load()
        features = block.run_features(self.samples)
        targets = without_nones(self.samples.all())
        step = operator.step(self._step(head.dtype), features)
        batch = features, targets, operator.chunk(self.samples.sub_batch_size), step
        return Hessian(
            _shapes(head.variables),
            head.dtype,
            lambda vector: operator.product(*batch, vector),
            lambda *search: operator.solve(*batch, *search),
        )

    @contextlib.contextmanager
    def _whole(self, variables: list[tf.Variable], block: Block | None = None) -> Iterator[Hessian]:
        """Evaluate the whole model at every product."""
        options = self.total_loss, self.samples, self.regularization
        whole = whole_model(self.model, variables, *options)
        shapes, dtype = _shapes(variables), variables[0].dtype
        with preserved(whole.moved()):
            if self.method == "exact" or block is None:
                yield Hessian(shapes, dtype, whole.exact(self.samples, self.reduction))
                return
            with preserved(variables):
                step = self._uncut_step(block, variables)
                matvec = whole.finite_difference(self.samples, step, self.reduction)
                yield Hessian(shapes, dtype, matvec)

    def _uncut_step(self, block: Block, variables: list[tf.Variable]) -> tf.Tensor:
        """Fit the step to the size of the layer's inputs, as the cut model does."""
        dtype = variables[0].dtype
        sums = input_squares([], variables, dtype)
        for inputs in block.last_inputs(self.samples):
            part = input_squares(inputs, variables, dtype)
            sums = [total + more for total, more in zip(sums, part)]
        total = comm.all_reduce_sum(sums, "tflbt.curvature.scale", self.reduction)
        return step_length(tf.constant(self._step(dtype), dtype), *total)

    def _step(self, dtype: tf.DType) -> float:
        return DEFAULT_STEPS[dtype] if self.step is None else self.step

    def _notice(self, block: Block) -> None:
        if not block.noticed:
            block.noticed = True
            logging.warning(
                "Curvature of %r: the model cannot be cut at %s because %s. The whole model runs at "
                "every iteration instead (%s).",
                self.model.name, ", ".join(repr(layer.name) for layer in block.layers) or "its weights",
                block.reason, self.method,
            )  # fmt: skip


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
