"""`top_eigenvalue`: the dominant Hessian eigenvalue of a layer, or of the whole model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt.curvature.finite_difference import DEFAULT_STEPS, input_squares, step_length
from tflbt.curvature.kept_variables import kept
from tflbt.curvature.output_layer import Uncuttable
from tflbt.curvature.output_layer_estimate import OutputLayer, output_layer
from tflbt.curvature.power_iteration import as_result, power_iteration, stopping
from tflbt.curvature.result import EigenResult
from tflbt.curvature.samples import Samples, without_nones
from tflbt.curvature.total_loss import TotalLoss, total_loss_of
from tflbt.curvature.whole_model import variables_of, whole_model
from tflbt.distributed import comm

METHODS = ("finite_difference", "exact")


@dataclasses.dataclass(frozen=True)
class _Search:
    """How to iterate, checked."""

    method: str
    iterations: int
    tolerance: float | None
    seed: int
    start_vector: Sequence[np.ndarray] | None
    step: float | None
    reduction: comm.Reduction

    def step_for(self, dtype: tf.DType) -> float:
        """Return the step given, or the one that suits the type."""
        return DEFAULT_STEPS[dtype] if self.step is None else self.step

    def start(self, variables: Sequence[tf.Variable], dtype: tf.DType) -> list[tf.Tensor]:
        """Return the start vector: the one given, or normal numbers, the same on every rank."""
        shapes = [tuple(variable.shape) for variable in variables]
        if self.start_vector is None:
            random = np.random.default_rng(self.seed)
            return [tf.constant(random.standard_normal(shape), dtype) for shape in shapes]
        given = [np.shape(part) for part in self.start_vector]
        if given != shapes:
            raise ValueError(f"start_vector has shapes {given}, the variables have {shapes}")
        if not any(np.any(part) for part in self.start_vector):
            raise ValueError("start_vector is zero: give a vector with a direction, or None")
        return [tf.constant(part, dtype) for part in self.start_vector]


def top_eigenvalue(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    *,
    layers: str | Sequence[str] = "output",
    method: str = "finite_difference",
    iterations: int = 10,
    tolerance: float | None = None,
    seed: int = 0,
    sample_weight: Any = None,
    sub_batch_size: int | None = None,
    loss: Any = None,
    start_vector: Sequence[np.ndarray] | None = None,
    step: float | None = None,
    reduction: comm.Reduction | None = None,
) -> EigenResult:
    r"""Estimate the Hessian eigenvalue of largest size by power iteration, with its sign.

    .. math:: H = \nabla^2 F(w), \qquad
        F = \frac1N \sum_{i=1}^N s_i\, \ell(y_i, f_w(x_i)), \qquad
        v \leftarrow \frac{Hv}{|Hv|}, \quad \lambda = v^\top H v

    F is the loss as Keras averages it, without regularisation and ``add_loss`` terms; w are the
    variables of the layers chosen. The model runs in inference mode. Afterwards, also after an
    exception, every weight, BatchNorm statistics included, is what it was, bit for bit.

    With ``layers="output"`` the network is run over the samples **once**; the iteration then works
    on a copy of the last weighted layer and what follows it (float64 for differences, float32 for
    exact products, whatever the model's precision), so ten iterations cost little
    more than one forward pass. A model that cannot be cut there (see `output_layer`) is evaluated
    whole at every iteration, after a logged notice; with the same meaning, but 2 gradients (finite
    difference) or about 4 gradients' time (exact) an iteration.

    Under Horovod every rank gives its own samples (none is allowed) and must make the same call;
    the samples of all ranks count alike, and every rank gets the same answer. Weights are taken to
    be equal on all ranks.

    Args:
        model: Any built Keras model, compiled unless ``loss`` is given.
        x: Inputs, ``[samples, ...]``, an array or a list, tuple or dict of arrays.
        y: Targets, likewise.
        layers: Default "output": the last layer called that has a trainable kernel. "all": every
            trainable variable. A layer name or several: the trainable variables of those layers.
        method: Default "finite_difference": central differences of gradients, for the output layer
            only. "exact": differentiate twice.
        iterations: Default 10. The largest number of Hessian-vector products, at least 1.
            A few products give the size; hundreds of the output layer's still cost milliseconds.
        tolerance: Default None: take all ``iterations``. Above 0: stop when the residual is at most
            that times :math:`|\lambda|`. ``converged`` is judged by it, or by 1e-2 if it is None.
        seed: Default 0. Draws the start vector. Compare values only across calls with the same
            samples, seed or start vector, and number of iterations.
        sample_weight: Default None. s, ``[samples]``, as Keras takes it.
        sub_batch_size: Default None: 256. Samples that go through the network at once, at least 1;
            the last sub-batch may be smaller. It changes memory and speed, not the answer.
        loss: Default None: the loss the model was compiled with. Else what ``compile`` takes.
        start_vector: Default None. The ``eigenvector`` of an earlier result, a head start.
        step: Default None: 0.001, or 0.02 where float64 is not possible. How far differences move
            the layer's output, roughly, in its own unit; see `finite_difference.step_length`.
        reduction: Default None: all ranks. A `comm.Reduction` names fewer by its process set.

    Returns:
        An `EigenResult`. ``eigenvector`` has one array a variable, kernel before bias.
        Where the samples yield NaN or infinity, ``eigenvalue`` is NaN and ``converged`` False.

    Raises:
        ValueError: An argument out of range, arrays that do not fit together or the model, a model
            that is not built, or neither compiled nor given a ``loss``, an unknown layer, or finite
            differences asked of anything but the output layer.

    Example:
        >>> layer = tf.keras.layers.Dense(1, use_bias=False, input_shape=(2,))
        >>> model = tf.keras.Sequential([layer])
        >>> model.compile(loss="mse")                        # F = mean (y - xw)^2, H = 2 mean xx^T
        >>> x = np.array([[2.0, 0.0], [0.0, 1.0]])
        >>> result = top_eigenvalue(model, x, np.zeros((2, 1)), iterations=20)
        >>> round(result.eigenvalue, 3), result.converged
        (4.0, True)

    Source: section 3.2 of the two-phase paper, equations 8 to 10, with the sign between the
    gradients corrected, the difference made central, and the best of three directions taken where
    the paper takes the power step (see `power_iteration`), and the network run once.
    """
    search = _checked(method, iterations, tolerance, seed, start_vector, step, reduction)
    samples = Samples.of(x, y, sample_weight, sub_batch_size)
    if not model.built:
        raise ValueError(f"model {model.name!r} is not built: call it on a batch, or build it")
    total_loss = total_loss_of(model, loss)
    if layers == "output":
        return _output(model, samples, total_loss, search)
    if method != "exact":
        raise ValueError(
            f'method="finite_difference" works for layers="output" only, not for layers={layers!r}:'
            " a step in the weights of a ReLU network crosses kinks and the difference is far off "
            '(10 to 25 for an eigenvalue of 1.78). Use method="exact"'
        )
    return _exact(model, variables_of(model, layers), samples, total_loss, search)


def _output(
    model: tf.keras.Model, samples: Samples, total_loss: TotalLoss, search: _Search
) -> EigenResult:
    """Work on the output layer alone, or fall back to the whole model."""
    output = output_layer(model, samples)
    if output.reason is None:
        try:
            return _on_head(output, samples, total_loss, search)
        except Uncuttable as reason:
            output.reason = str(reason)
    return _uncut(model, output, samples, total_loss, search)


def _on_head(
    output: OutputLayer, samples: Samples, total_loss: TotalLoss, search: _Search
) -> EigenResult:
    operator = output.operator(total_loss, search.method, samples, search.reduction)
    head = operator.head
    head.load()
    start = search.start(head.variables, head.dtype)
    features = output.run_features(samples)
    targets = without_nones(samples.all())
    chunk = operator.chunk(samples.sub_batch_size, features)
    limits = (search.iterations, stopping(search.tolerance), search.step_for(head.dtype))
    dtypes = (tf.int32, head.dtype, head.dtype)
    scalars = [tf.constant(value, dtype) for value, dtype in zip(limits, dtypes)]
    state = operator.solve(features, targets, start, tf.constant(chunk), *scalars)
    return as_result(state, search.tolerance)


def _uncut(
    model: tf.keras.Model,
    output: OutputLayer,
    samples: Samples,
    total_loss: TotalLoss,
    search: _Search,
) -> EigenResult:
    """Evaluate the whole model at every product, for the output layer's variables."""
    variables = list(output.layer.trainable_weights)
    low_precision = output.layer.compute_dtype in ("float16", "bfloat16")
    method = "exact" if low_precision else search.method
    if not output.noticed:
        output.noticed = True
        logging.warning(
            "Curvature of %r: the model cannot be cut at its last weighted layer %r because %s. "
            "The whole model runs at every iteration instead (%s)%s.",
            model.name, output.layer.name, output.reason, method,
            ", as differences in 16 bits mean nothing" if method != search.method else "",
        )  # fmt: skip
    if method == "exact":
        return _exact(model, variables, samples, total_loss, search)
    whole = whole_model(model, variables, total_loss, samples)
    with kept([*variables, *whole.moved(whole.gradient), *output.moved]):
        step = _uncut_step(output, samples, variables, search)
        matvec = whole.finite_difference(samples, step, search.reduction)
        return _iterate(matvec, variables, search)


def _uncut_step(output: OutputLayer, samples: Samples, variables, search: _Search) -> tf.Tensor:
    """Fit the step to the size of the layer's inputs, as the cut model does."""
    dtype = variables[0].dtype
    sums = input_squares([], variables, dtype)
    for x, _, _ in samples.sub_batches():
        part = input_squares(output.features(x), variables, dtype)
        sums = [total + more for total, more in zip(sums, part)]
    total = comm.all_reduce_sum(sums, "tflbt.curvature.scale", search.reduction)
    return step_length(tf.constant(search.step_for(dtype), dtype), *total)


def _exact(model, variables, samples: Samples, total_loss: TotalLoss, search: _Search):
    whole = whole_model(model, variables, total_loss, samples)
    with kept(whole.moved(whole.product)):
        return _iterate(whole.exact(samples, search.reduction), variables, search)


def _iterate(matvec, variables, search: _Search) -> EigenResult:
    start = search.start(variables, variables[0].dtype)
    return power_iteration(matvec, start, iterations=search.iterations, tolerance=search.tolerance)


def _checked(method, iterations, tolerance, seed, start_vector, step, reduction) -> _Search:
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown: give one of {METHODS}")
    if int(iterations) != iterations or iterations < 1:
        raise ValueError(f"iterations={iterations!r} must be a whole number, 1 or more")
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"tolerance={tolerance!r} must be above 0, or None to take all iterations")
    if step is not None and not step > 0:
        raise ValueError(f"step={step!r} must be above 0, or None for the default")
    # Gradients may be compressed on their way between ranks; differences of them may not.
    agreed = (reduction or comm.EVERYONE).uncompressed
    return _Search(method, int(iterations), tolerance, seed, start_vector, step, agreed)
