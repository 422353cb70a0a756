"""How any Keras model is regularised: weight decay on its kernels and (ghost) batch normalisation."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tflbt import checks
from tflbt.models.ghost_batch_norm import GhostBatchNormalization

# The options that `prepares` adds to a network, with their defaults.
DEFAULTS: dict[str, Any] = {
    "weight_decay": 0.0,
    "decay_last_bias": False,
    "bn_momentum": 0.9,
    "bn_epsilon": 1e-5,
    "ghost_batch_size": None,
}
LARGEST_SIZE = 10**6
MOST_LAYERS = 10_000  # ten times the deepest ResNet; Keras takes milliseconds to build each
_DOCUMENTED = {
    "weight_decay": "b >= 0 of an L2 loss `b/2 * |w|^2` on kernels; 0 when the optimizer decays weights.",
    "decay_last_bias": "Whether the last dense layer's bias decays like the kernels.",
    "bn_momentum": "Share of a moving statistic kept per sub-batch (or ghost), 0 .. 1.",
    "bn_epsilon": "Added to the variance.",
    "ghost_batch_size": "Samples that are normalised together in training (`tflbt.models.GhostBatchNormalization`); "
    "None: the whole sub-batch.",
}
_RETURNS = """
Returns:
    A functional model from images to logits `[n, classes]`, float32 under mixed precision too.
"""
# The argument that regularises a layer's kernel, and the attribute that holds the kernel. A depthwise kernel decays
# only beside a pointwise one (SeparableConv2D): MobileNet's paper says to decay those of DepthwiseConv2D "very little
# or not at all", since they have so few parameters.
_KERNELS = {
    "kernel_regularizer": "kernel",
    "recurrent_regularizer": "recurrent_kernel",
    "embeddings_regularizer": "embeddings",
    "depthwise_regularizer": "depthwise_kernel",
    "pointwise_regularizer": "pointwise_kernel",
}
_BIAS = {"bias_regularizer": "bias"}


def prepared(
    model: tf.keras.Model,
    *,
    weight_decay: float = 0.0,
    ghost_batch_size: int | None = None,
    bn_momentum: float | None = None,
    bn_epsilon: float | None = None,
    decay_last_bias: bool = False,
) -> tf.keras.Model:
    """Gives a model's kernels weight decay and changes its batch normalisation.

    The model's own layers are changed, before it is compiled. A clone would draw new random numbers: this way
    weights, dropout and every later draw stay as the seed made them, subclassed models work too, and nothing is
    built twice. Saved models and clones keep what is set here.

    Args:
        model: Any Keras model, such as one of `tf.keras.applications`.
        weight_decay: b >= 0 of an L2 loss `b/2 * |w|^2` whose gradient is `b * w` (Keras's `L2(c)` is `c * |w|^2`, so
            c = b/2), on all kernels: of convolutions, dense, recurrent and embedding layers, but not of
            `DepthwiseConv2D`. Kernels that have a regulariser already keep theirs. Default 0: none; right when the
            optimizer decays weights.
        ghost_batch_size: Samples that are normalised together in training, at least 1: every `BatchNormalization`
            layer becomes a `GhostBatchNormalization`. Train on multiples of it. Default None: the whole sub-batch.
        bn_momentum: Share of a moving statistic kept per sub-batch (or ghost), 0 .. 1. Keras's 0.99 lags some hundred
            sub-batches, which in large batches are many epochs. Default None: as the model has it.
        bn_epsilon: Added to the variance, at least 0. Default None: as the model has it.
        decay_last_bias: Whether the bias of the last dense layer decays like the kernels (A.2 of `two-phase.txt`).
            Default False.

    Returns:
        The same model.

    Raises:
        ValueError: If an option is out of its range, ghosts find no layer, or one that they cannot replace, or there is
            no bias to decay.

    Example:
        >>> from tflbt.models.prepared import prepared
        >>> network = tf.keras.applications.MobileNet(weights=None, classifier_activation=None)
        >>> network = prepared(network, weight_decay=5e-4, ghost_batch_size=64, bn_momentum=0.9)
        >>> len(network.losses)  # the first convolution, 13 pointwise ones and the logits' kernel
        15
    """
    checks.kind("model", model, tf.keras.Model)
    check(weight_decay, ghost_batch_size, bn_momentum, bn_epsilon, decay_last_bias)
    layers = [layer for layer in model.submodules if isinstance(layer, tf.keras.layers.Layer)]
    if weight_decay:
        for layer in layers:
            _decay(layer, tf.keras.regularizers.L2(weight_decay / 2), _KERNELS)
        if decay_last_bias:
            _decay(_last_dense(model), tf.keras.regularizers.L2(weight_decay / 2), _BIAS)
    normalisations = [
        layer for layer in layers if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    if ghost_batch_size is not None and not normalisations:
        raise ValueError(
            f"ghost_batch_size={ghost_batch_size!r} needs BatchNormalization layers, and {model.name!r} has none "
            "(alexnet and vgg16 have them with batch_norm=True)."
        )
    for layer in normalisations:
        layer.momentum = layer.momentum if bn_momentum is None else bn_momentum
        layer.epsilon = layer.epsilon if bn_epsilon is None else bn_epsilon
        if ghost_batch_size is not None:
            GhostBatchNormalization.replace(layer, ghost_batch_size)
    return model


def check(
    weight_decay: float = 0.0,
    ghost_batch_size: int | None = None,
    bn_momentum: float | None = None,
    bn_epsilon: float | None = None,
    decay_last_bias: bool = False,
) -> None:
    """Raises ValueError if an option of `prepared` is out of its range."""
    checks.number("weight_decay", weight_decay, at_least=0)
    checks.kind("decay_last_bias", decay_last_bias, bool)
    if ghost_batch_size is not None:
        checks.whole("ghost_batch_size", ghost_batch_size, at_least=1)
    if bn_momentum is not None:
        checks.number("bn_momentum", bn_momentum, at_least=0, at_most=1)
    if bn_epsilon is not None:
        checks.number("bn_epsilon", bn_epsilon, at_least=0)


def prepares(*names: str, **defaults: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds options of `prepared`, all of `DEFAULTS` or those named, to a network's function, and documents them.

    `defaults` are of options whose default is another. The function's docstring also gets a "Returns" if it has none.
    """
    defaults = {**{name: DEFAULTS[name] for name in names or DEFAULTS}, **defaults}

    def decorate(network: Callable[..., Any]) -> Callable[..., Any]:
        checked, signature = checks.arguments(network), inspect.signature(network)

        @functools.wraps(network)
        def build(*arguments: Any, **options: Any) -> tf.keras.Model:
            chosen = {name: options.pop(name, default) for name, default in defaults.items()}
            check(**chosen)  # before anything is built
            _check_sizes(signature.bind_partial(*arguments, **options))
            return prepared(checked(*arguments, **options), **chosen)

        keyword = inspect.Parameter.KEYWORD_ONLY
        added = [inspect.Parameter(name, keyword, default=defaults[name]) for name in defaults]
        parameters = [*signature.parameters.values(), *added]
        build.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        documentation = inspect.cleandoc(network.__doc__ or "")
        new = "".join(f"    {name}: {_DOCUMENTED[name]}\n" for name in defaults)
        new += "" if "\nReturns:" in documentation else _RETURNS
        after_arguments = r"\n(Returns|Raises|Example):"
        build.__doc__ = re.sub(after_arguments, lambda end: new + end[0], documentation, count=1)
        return build

    return decorate


def _check_sizes(bound: inspect.BoundArguments) -> None:
    """Raises ValueError if a size of a network is less than 1, or so large that it can only be a slip of the pen."""
    for name, value in bound.arguments.items():
        if "int" in str(bound.signature.parameters[name].annotation):
            for size in tf.nest.flatten(value):
                if checks.is_whole(size):
                    most = MOST_LAYERS if name in ("depth", "cells", "layers") else LARGEST_SIZE
                    checks.whole(name, size, at_least=None if name == "depth" else 1, at_most=most)


def _last_dense(model: tf.keras.Model) -> tf.keras.layers.Dense:
    """The model's last dense layer; raises ValueError unless it has a bias."""
    dense = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.Dense)]
    if not dense or not dense[-1].use_bias:
        raise ValueError(
            f"decay_last_bias=True needs a Dense layer with a bias, and {model.name!r} ends without: leave it out."
        )
    return dense[-1]


def _decay(layer: tf.keras.layers.Layer, regulariser: Any, weights: dict[str, str]) -> None:
    """Regularises a layer's weights as if its constructor had been given the regulariser."""
    if isinstance(layer, tf.keras.layers.RNN):
        return  # its cell holds the kernels, and is a layer too
    for argument, attribute in weights.items():
        if getattr(layer, argument, regulariser) is not None:
            continue
        if argument == "depthwise_regularizer" and not hasattr(layer, "pointwise_regularizer"):
            continue
        kernel = getattr(layer, attribute, None)
        if kernel is not None:
            layer.add_loss(functools.partial(_penalty, regulariser, kernel))
        if kernel is not None or not layer.built:  # a kernel to come takes its regulariser along
            setattr(layer, argument, regulariser)


def _penalty(regulariser: Any, kernel: tf.Variable) -> tf.Tensor:
    """The loss of a kernel, under the names that Keras gives it: graphs then add up losses in the same order."""
    with tf.name_scope(f"{kernel.name.split(':')[0]}/Regularizer"):
        return regulariser(kernel)
