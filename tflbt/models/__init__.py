"""The papers' networks, as plain Keras models that end in logits, by function or by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import tensorflow as tf

from tflbt import checks
from tflbt.models import keras_applications
from tflbt.models.alexnet import alexnet
from tflbt.models.darts import darts
from tflbt.models.densenet import densenet
from tflbt.models.ghost_batch_norm import GhostBatchNormalization
from tflbt.models.lenet import lenet
from tflbt.models.logistic_regression import logistic_regression
from tflbt.models.mobilenet import mobilenet
from tflbt.models.prepared import prepared
from tflbt.models.resnet import cifar_resnet, digits_resnet, resnet18, resnet50
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


@checks.arguments
def network(name: str) -> Callable[..., tf.keras.Model]:
    """The function that builds a network; `inspect.signature` lists its options with their defaults.

    Args:
        name: A name in `MODELS`, or one of Keras's own, such as "keras.applications.ResNet50".

    Raises:
        ValueError: If the name is unknown; the message lists those that exist.

    Example:
        >>> import inspect
        >>> import tflbt.models
        >>> inspect.signature(tflbt.models.network("lenet")).parameters["units"].default
        1024
    """
    if name.startswith(keras_applications.PREFIX):
        return keras_applications.application(name)
    if name not in MODELS:
        raise ValueError(
            f"There is no model {name!r}; name one of {sorted(MODELS)}, or one of Keras's, such as "
            f"'{keras_applications.PREFIX}ResNet50'."
        )
    return MODELS[name]


@checks.arguments
def build(name: str, **options) -> tf.keras.Model:
    """Builds a network by its name, as configuration files do.

    Args:
        name: A name in `MODELS` (such as "cifar_resnet", "vgg16" or "word_lstm"), or "keras.applications.ResNet50" or
            another network of Keras's (`tflbt.models.keras_applications`).
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
    function = network(name)
    known = sorted(inspect.signature(function).parameters)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"Model {name!r} has no option {unknown}; its options are {known}.")
    return function(**options)


__all__ = ["MODELS", "GhostBatchNormalization", "build", "network", "prepared", *MODELS]
