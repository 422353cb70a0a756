"""How far inputs are from the decision boundary, to first order: the margins of the two-phase paper's Fig. 1."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.curvature.samples import MeasuredSamples
from tflbt.curvature.whole_model import compiled, run_in_full_precision
from tflbt.distributed import comm

EPSILON = 1e-6  # beside the squared slope, as in the reference code (demogen's margin_utils)


@checks.arguments
def input_margins(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    *,
    sub_batch_size: int | None = None,
    reduction: comm.Reduction | None = None,
) -> np.ndarray:
    r"""Measure the normalised margin of each sample: how far its input is from being classified as another class.

    $$\hat d(x) = \frac{f_y(x) - f_j(x)}{\sqrt{\nu}\,\sqrt{10^{-6} + |\nabla_x f_y - \nabla_x f_j|^2}},
    \qquad j = \arg\max_{k \ne y} f_k(x), \qquad \nu = \operatorname{mean}_x |x - \operatorname{mean}(x)|^2$$

    f are the logits (of a model with a single one: 0 and that), in inference mode, mixed precision as float32. Below 0
    the sample is misclassified. The slope of a batch's sum of `f_y - f_j` has every sample's own, as inference treats
    samples apart: one pass backwards, and no gradients of weights, so about two forward passes. Dividing by
    `\sqrt\nu`, the deviation of the inputs, makes data sets comparable.

    The paper prints "given the model parameters" and "gradients with respect to the model parameters" for what moves
    the input: its equation 11 and the reference code do the latter.

    Args:
        model: A built Keras model with one input and one output of logits.
        x: Inputs as in evaluation, `[samples, ...]`, floating-point numbers.
        y: Labels, `[samples]` integers.
        sub_batch_size: Default None: 256. Samples that go through the network at once.
        reduction: Default None: all ranks, of which each passes its own samples and gets all ranks' margins.

    Returns:
        The margins of all ranks' samples, `[samples]`, rank after rank.

    Raises:
        ValueError: If inputs are no single array of floating-point numbers (of text, say), labels no integers, the
            model's loss takes probabilities, or its output is not `[samples, classes]`.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(2, use_bias=False, input_shape=(1,))])
        >>> model.set_weights([np.array([[1.0, -1.0]])])       # the boundary is at 0
        >>> input_margins(model, np.array([[3.0], [-1.0]], "float32"), np.array([0, 0])).round(3)  # deviation 2
        array([ 1.5, -0.5], dtype=float32)

    Source: equations 11 and 12 of `two-phase.txt`; Jiang et al., "Predicting the Generalization Gap in Deep Networks
    with Margin Distributions" (2018).
    """
    reduction = comm.EVERYONE if reduction is None else reduction
    samples = MeasuredSamples.of(x, y, sub_batch_size=sub_batch_size)
    _require_measurable(model, samples)
    margins = compiled(model, "margins", repr(samples.specs()), lambda: _compiled(model, samples))
    found = [np.zeros([0], np.float32)]
    found += [margins(x, y).numpy() for x, y, _ in samples.sub_batches()]
    scale = np.sqrt(input_variance(samples, reduction))
    every = comm.gather_objects(np.concatenate(found) / scale, "tflbt.margins", reduction)
    return np.concatenate(every).astype(np.float32)


def input_variance(samples: MeasuredSamples, reduction: comm.Reduction) -> float:
    """Return the mean squared distance of all ranks' inputs from their mean: the trace of their covariance."""
    shape = samples.x.shape[1:]
    sums, squares = np.zeros(shape), 0.0
    for x, _, _ in samples.sub_batches():
        values = x.numpy().astype(np.float64)
        sums += values.sum(axis=0)
        squares += float((values**2).sum())
    mine = [tf.constant(part, tf.float64) for part in (sums, squares, samples.count)]
    totals = comm.all_reduce_sum(mine, "tflbt.margins.variance", reduction)
    sums, squares, count = (total.numpy() for total in totals)
    return float(squares / count - ((sums / count) ** 2).sum())


def _compiled(model: tf.keras.Model, samples: MeasuredSamples) -> Any:
    """Compile the margins of a sub-batch, `[samples]`, before they are divided by the inputs' deviation."""
    reference: Callable[[], Any] = weakref.ref(model)

    def margins(x, y):
        labels = tf.cast(tf.reshape(y, [-1]), tf.int32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            net = reference()
            logits = run_in_full_precision(net, lambda: net(x, training=False))
            logits = tf.cast(logits, tf.float32)
            if logits.shape[-1] == 1:
                logits = tf.concat([tf.zeros_like(logits), logits], axis=-1)
            true = tf.one_hot(
                labels, logits.shape[-1], dtype=tf.bool, on_value=True, off_value=False
            )
            best_other = tf.reduce_max(tf.where(true, -np.inf, logits), axis=-1)
            ahead = tf.reduce_sum(tf.where(true, logits, 0.0), axis=-1) - best_other
        slopes = tf.reshape(tf.cast(tape.gradient(ahead, x), tf.float32), [tf.shape(x)[0], -1])
        return ahead / tf.sqrt(EPSILON + tf.reduce_sum(tf.square(slopes), axis=-1))

    x, y, _ = samples.specs()
    return tf.function(margins, input_signature=[x, y])


def _require_measurable(model: tf.keras.Model, samples: MeasuredSamples) -> None:
    """Raises for inputs, labels, losses and outputs of which there are no margins."""
    for name, array, wanted in (
        (
            "x",
            samples.x,
            "floating-point numbers: a margin is a distance of inputs, which indices do not have",
        ),
        ("y", samples.y, "integer labels"),
    ):
        if tf.nest.is_nested(array):
            raise ValueError(f"{name} is a {type(array).__name__}: give one array of {wanted}")
        dtype = tf.as_dtype(array.dtype)
        if not (dtype.is_floating if name == "x" else dtype.is_integer):
            raise ValueError(f"{name} holds {dtype.name}: give {wanted}")
    if samples.count and int(np.prod(samples.y.shape[1:])) != 1:
        raise ValueError(f"y has shape {tuple(samples.y.shape)}: give integer labels, [samples]")
    shape = getattr(model, "output_shape", None)
    if shape is not None and (isinstance(shape, list) or len(shape) != 2):
        raise ValueError(f"the model's output {shape} must be one of [samples, classes]")
    if getattr(model, "loss", None) is not None and _takes_probabilities(model.loss):
        raise ValueError(
            f"loss={model.loss!r} takes probabilities: margins are of logits, so leave softmax out of the model and "
            "compile it with from_logits=True"
        )


def _takes_probabilities(loss: Any) -> bool:
    """Says whether a cross-entropy reads its predictions as probabilities."""
    loss = tf.keras.losses.get(loss) if isinstance(loss, str) else loss
    if callable(loss) and not isinstance(loss, tf.keras.losses.Loss):
        return "crossentropy" in getattr(loss, "__name__", "")  # Keras's functions' default
    config = loss.get_config() if isinstance(loss, tf.keras.losses.Loss) else {}
    return config.get("from_logits") is False
