"""The loss at weights other than the model's: along lines, over planes, along the top eigenvector."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.checks import one_of
from tflbt.curvature.estimate import top_eigenvalue
from tflbt.curvature.samples import MeasuredSamples
from tflbt.curvature.total_loss import total_loss_of
from tflbt.curvature.whole_model import preserved, run_in_full_precision, whole_model
from tflbt.distributed import comm

BATCH_NORM = ("fixed", "re-estimate")
_LAYERS = tf.keras.layers
# Layers whose randomness has a size, which can be 0. Those of dropout over whole channels are Dropout too.
_SILENCED = (
    *(_LAYERS.Dropout, _LAYERS.AlphaDropout, _LAYERS.GaussianDropout, _LAYERS.GaussianNoise),
)
_TINY = 1e-10  # beside a random filter's length, as in the reference code


@checks.arguments
@dataclasses.dataclass(frozen=True, eq=False)
class Cut:
    """The loss along the Hessian's top eigenvector.

    Args:
        distances: How far the weights were moved, `[points]`, in the unit of the weights.
        losses: The mean loss there, `[points]`.
        eigenvalue: The Hessian's of largest size, the second derivative along the cut at 0.
        residual: Of that eigenvalue, see `EigenResult`.
    """

    distances: np.ndarray
    losses: np.ndarray
    eigenvalue: checks.Measured
    residual: checks.Measured


@checks.arguments
def losses_at(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    directions: Sequence[Sequence[np.ndarray]],
    coordinates: np.ndarray | Sequence[float | Sequence[float]],
    *,
    variables: Sequence[tf.Variable] | None = None,
    batch_norm: str = "fixed",
    sub_batch_size: int | None = None,
    loss: Any = None,
    reduction: comm.Reduction | None = None,
) -> np.ndarray:
    r"""Evaluate the mean loss over some samples at weights around the model's own.

    $$L(e) = \frac1N \sum_i \ell\big(y_i, f_{w(e)}(x_i)\big), \qquad w(e) = w + \sum_k e_k d_k$$

    The network runs in inference mode, mixed precision as float32; afterwards, also after an exception, every weight is
    what it was, bit for bit. Under Horovod every rank passes the same samples; the points are shared out, so that there
    is one exchange at the end, and every rank gets all losses.

    Args:
        model: A built Keras model, compiled unless `loss` is given.
        x: Inputs, `[samples, ...]`, as in evaluation.
        y: Targets.
        directions: d, for each an array per variable, shaped like it.
        coordinates: e, `[points, directions]`.
        variables: What directions move; default None: the trainable variables, in the model's order.
        batch_norm: Default "fixed": BatchNorm keeps its moving statistics, unless `variables` holds them.
            "re-estimate": they are measured anew at each point, on the same samples, before the loss. Between two
            networks statistics in between are those of neither: re-estimate them. Measuring in several sub-batches
            leaves the deeper layers' statistics those of sub-batches.
        sub_batch_size: Default None: 256.
        loss: Default None: the loss the model was compiled with, without regularisers.
        reduction: Default None: all ranks.

    Returns:
        The losses, `[points]`.

    Raises:
        ValueError: If shapes do not fit, or statistics cannot be measured because a layer draws random numbers in
            another way than dropout and noise do.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, input_shape=(1,))])
        >>> model.compile(loss="mse")
        >>> model.set_weights([np.array([[1.0]])])
        >>> x = np.ones([4, 1], "float32")
        >>> losses_at(model, x, x, [[np.array([[2.0]])]], [[0.0], [1.0], [2.0]])  # (2 e)^2
        array([ 0.,  4., 16.])

    Source: Goodfellow, Vinyals and Saxe (2015); the surfaces of Figs 1, 9 and 10 of `abs-absa.txt`; Li et al.,
    "Visualizing the Loss Landscape of Neural Nets" (2018).
    """
    one_of("batch_norm", batch_norm, BATCH_NORM)
    reduction = comm.EVERYONE if reduction is None else reduction
    moved = list(model.trainable_variables if variables is None else variables)
    vectors = [_checked(direction, moved) for direction in directions]
    points = np.asarray(coordinates, float)
    if points.ndim != 2 or points.shape[1] != len(vectors):
        raise ValueError(
            f"coordinates have shape {points.shape}: give [points, {len(vectors)}], a column per direction"
        )
    samples = MeasuredSamples.of(x, y, sub_batch_size=sub_batch_size)
    whole = whole_model(model, model.trainable_variables, total_loss_of(model, loss), samples)
    found = {}
    with preserved(model.variables):
        origin = [tf.identity(variable) for variable in moved]
        if batch_norm == "re-estimate":
            _require_repeatable(model, samples)
        for place in range(reduction.rank, len(points), reduction.size):
            for variable, first, *steps in zip(moved, origin, *vectors):
                change = sum(e * step for e, step in zip(points[place], steps))
                variable.assign(first + tf.cast(change, variable.dtype))
            if batch_norm == "re-estimate":
                re_estimate(model, samples)
            found[place] = whole.mean_loss(samples)
    losses = np.empty(len(points))
    for part in comm.gather_objects(found, "tflbt.landscape", reduction):
        for place, value in part.items():
            losses[place] = value
    return losses


@checks.arguments
def eigenvector_cut(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    distances: Sequence[float] | np.ndarray | None = None,
    *,
    iterations: int = 50,
    tolerance: float = 0.01,
    seed: int = 0,
    sub_batch_size: int | None = None,
    reduction: comm.Reduction | None = None,
) -> Cut:
    r"""Evaluate the loss along the top eigenvector of the whole Hessian: `L(w + e v)`, |v| = 1.

    An eigenvector has no sign; this one points uphill, `v \cdot \nabla L >= 0`. BatchNorm keeps its statistics. Every
    rank passes the same samples, which are also those of the Hessian.

    Args:
        model: A built, compiled Keras model.
        x: Inputs, `[samples, ...]`, as in evaluation.
        y: Targets.
        distances: e; default None: 21 from -0.5 to 0.5.
        iterations: Hessian-vector products, at most; default 50.
        tolerance: Relative residual at which they end, default 0.01.
        seed: Of the start vector, default 0.
        sub_batch_size: Default None: 256.
        reduction: Default None: all ranks.

    Returns:
        The `Cut`.

    Raises:
        ValueError: As `top_eigenvalue`.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, input_shape=(1,))])
        >>> model.compile(loss="mse")
        >>> model.set_weights([np.array([[1.0]])])
        >>> cut = eigenvector_cut(model, np.ones([4, 1]), np.zeros([4, 1]), [0.0, 1.0])
        >>> cut.losses, round(cut.eigenvalue, 4)                 # w^2 at 1 and 2
        (array([1., 4.]), 2.0)

    Source: section V and Fig. 11 of `abs-absa.txt`; PyHessian (Yao et al. 2020).
    """
    reduction = comm.EVERYONE if reduction is None else reduction
    MeasuredSamples.of(x, y, sub_batch_size=sub_batch_size)
    mine = slice(reduction.rank, None, reduction.size)
    share = tf.nest.map_structure(lambda array: array[mine], (x, y))
    places = np.linspace(-0.5, 0.5, 21) if distances is None else distances
    places = checks.array("distances", places).astype(float)
    top = top_eigenvalue(
        model, *share, layers="all", method="exact", solver="lanczos", iterations=iterations,
        tolerance=tolerance, seed=seed, sub_batch_size=sub_batch_size, reduction=reduction,
    )  # fmt: skip
    variables = model.trainable_variables
    samples = MeasuredSamples.of(x, y, sub_batch_size=sub_batch_size)
    with preserved(model.variables):
        slopes = whole_model(model, variables, total_loss_of(model), samples).slopes(samples)
    uphill = sum(float(np.vdot(a, b)) for a, b in zip(slopes, top.eigenvector)) >= 0
    direction = [part if uphill else -part for part in top.eigenvector]
    losses = losses_at(
        model,
        x,
        y,
        [direction],
        places[:, None],
        sub_batch_size=sub_batch_size,
        reduction=reduction,
    )
    return Cut(places, losses, top.eigenvalue, top.residual)


@checks.arguments
def filter_normalised(variables: Sequence[tf.Variable], seed: int) -> list[np.ndarray]:
    r"""Draw a random direction whose filters are as long as the network's: `d_f |w_f| / (|d_f| + 10^{-10})`.

    Landscapes of networks whose weights differ in scale can then be compared. Filters are along the *last* axis of a
    kernel, `[height, width, in, out]` or `[in, out]` (in PyTorch the first), and each plane of a depthwise kernel;
    biases and what BatchNorm learns (one axis or none) do not move.

    Args:
        variables: The network's, as `model.trainable_variables`.
        seed: The same seed draws the same direction on every rank.

    Returns:
        An array per variable.

    Example:
        >>> kernel = tf.Variable([[3.0, 0.0], [4.0, 1.0]])
        >>> np.linalg.norm(filter_normalised([kernel], seed=0)[0], axis=0).round(6).tolist()
        [5.0, 1.0]

    Source: Li et al. (2018), section 4; their code's `net_plotter.py`.
    """
    random = np.random.default_rng(seed)
    direction = []
    for variable in variables:
        shape = tuple(variable.shape)
        drawn = random.standard_normal(shape)
        if len(shape) < 2:
            direction.append(np.zeros(shape, np.float32))
            continue
        axes = (0, 1) if "depthwise_kernel" in variable.name else tuple(range(len(shape) - 1))
        weight = np.asarray(variable.numpy(), np.float64)
        lengths = [np.sqrt((part**2).sum(axis=axes, keepdims=True)) for part in (weight, drawn)]
        direction.append((drawn * lengths[0] / (lengths[1] + _TINY)).astype(np.float32))
    return direction


def re_estimate(model: tf.keras.Model, samples: MeasuredSamples) -> None:
    """Sets BatchNorm's moving statistics to those of these samples at the present weights."""
    layers = [layer for layer in _leaves(model) if _measures(layer)]
    if not layers:
        return
    sums = [[0.0, 0.0] for _ in layers]
    with _measuring(model, layers):
        for x, _, _ in samples.sub_batches():
            count = int(tf.nest.flatten(x)[0].shape[0])
            run_in_full_precision(model, functools.partial(model, x, training=True))
            for total, layer in zip(sums, layers):
                mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
                total[0] += count * mean.astype(np.float64)
                total[1] += count * (variance + mean.astype(np.float64) ** 2)
    for (mean, square), layer in zip(sums, layers):
        mean, square = mean / samples.count, square / samples.count
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(np.maximum(square - mean**2, 0.0))


def _require_repeatable(model: tf.keras.Model, samples: MeasuredSamples) -> None:
    """Raises if a pass in training mode depends on more than the weights and the samples."""
    layers = [layer for layer in _leaves(model) if _measures(layer)]
    if not layers or not samples.count:
        return
    x, _, _ = next(samples.sub_batches())
    passes = []
    with _measuring(model, layers):
        for _ in range(2):
            model(x, training=True)
            passes.append([layer.moving_mean.numpy() for layer in layers])
    if not all(np.allclose(a, b, rtol=1e-2, atol=1e-4) for a, b in zip(*passes)):
        raise ValueError(
            'batch_norm="re-estimate": a layer draws random numbers in training in another way than dropout and noise '
            'do, so that statistics are no function of the weights: use "fixed".'
        )


@contextlib.contextmanager
def _measuring(model: tf.keras.Model, layers: Sequence[Any]) -> Iterator[None]:
    """Makes BatchNorm forget what it has seen before, and silences dropout and noise, inside the block."""
    changes = [(layer, "momentum", 0.0) for layer in layers]
    for layer in _leaves(model):
        if isinstance(layer, _SILENCED):
            changes += [(layer, n, 0.0) for n in ("rate", "stddev") if hasattr(layer, n)]
    before = [(layer, name, getattr(layer, name)) for layer, name, _ in changes]
    try:
        for layer, name, value in changes:
            setattr(layer, name, value)
        yield
    finally:
        for layer, name, value in before:
            setattr(layer, name, value)


def _measures(layer: Any) -> bool:
    """Says whether a layer keeps moving statistics and would move them."""
    return isinstance(layer, tf.keras.layers.BatchNormalization) and layer.trainable


def _leaves(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """Returns all layers of a model, those of models and layers inside it too."""
    return [part for part in model.submodules if isinstance(part, tf.keras.layers.Layer)]


def _checked(direction: Sequence[np.ndarray], variables: Sequence[tf.Variable]) -> list[np.ndarray]:
    """Returns a direction's arrays; raises ValueError unless their shapes are the variables'."""
    shapes = [tuple(np.shape(part)) for part in direction]
    wanted = [tuple(variable.shape) for variable in variables]
    if shapes != wanted:
        raise ValueError(f"directions has shapes {shapes}, the variables have {wanted}")
    return [np.asarray(part, np.float64) for part in direction]
