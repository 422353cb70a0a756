"""The papers' networks, as plain Keras models that end in logits, by function or by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import tensorflow as tf

from tflbt.models.alexnet import alexnet
from tflbt.models.darts import darts
from tflbt.models.densenet import densenet
from tflbt.models.ghost_batch_norm import GhostBatchNormalization
from tflbt.models.lenet import lenet
from tflbt.models.logistic_regression import logistic_regression
from tflbt.models.mobilenet import mobilenet
from tflbt.models.resnet import cifar_resnet, digits_resnet
from tflbt.models.resnet18 import resnet18
from tflbt.models.resnet50 import resnet50
from tflbt.models.small_alexnet import small_alexnet
from tflbt.models.squeezenext import squeezenext
from tflbt.models.vgg import vgg16
from tflbt.models.wide_resnet import wide_resnet
from tflbt.models.word_lstm import word_lstm

MODELS: dict[str, Callable[..., tf.keras.Model]] = {
    "alexnet": alexnet,
    "cifar_resnet": cifar_resnet,
    "darts": darts,
    "densenet": densenet,
    "digits_resnet": digits_resnet,
    "lenet": lenet,
    "logistic_regression": logistic_regression,
    "mobilenet": mobilenet,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "small_alexnet": small_alexnet,
    "squeezenext": squeezenext,
    "vgg16": vgg16,
    "wide_resnet": wide_resnet,
    "word_lstm": word_lstm,
}


def build(name: str, **options) -> tf.keras.Model:
    """Builds a network by its name, as configuration files do.

    Args:
        name: One of `MODELS`: "alexnet", "cifar_resnet", "darts", "densenet", "digits_resnet", "lenet",
            "logistic_regression", "mobilenet", "resnet18", "resnet50", "small_alexnet", "squeezenext", "vgg16",
            "wide_resnet", "word_lstm".
        **options: The arguments of that network's function.

    Returns:
        A functional Keras model that ends in logits.

    Raises:
        ValueError: If the name or an option is unknown; the message lists those that exist.

    Example:
        >>> import tflbt.models
        >>> tflbt.models.build("cifar_resnet", depth=20).output_shape
        (None, 10)
    """
    if name not in MODELS:
        raise ValueError(f"There is no model {name!r}; name one of {sorted(MODELS)}.")
    known = _options(name)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"Model {name!r} has no option {unknown}; its options are {known}.")
    return MODELS[name](**options)


def _options(name: str) -> list[str]:
    return sorted(inspect.signature(MODELS[name]).parameters)


__all__ = [
    "MODELS",
    "GhostBatchNormalization",
    "alexnet",
    "build",
    "cifar_resnet",
    "darts",
    "densenet",
    "digits_resnet",
    "lenet",
    "logistic_regression",
    "mobilenet",
    "resnet18",
    "resnet50",
    "small_alexnet",
    "squeezenext",
    "vgg16",
    "wide_resnet",
    "word_lstm",
]
