"""Finds what a KerasTuner hypermodel declares while it builds, before a search begins."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import keras_tuner
import tensorflow as tf
from absl import logging
from keras_tuner.engine import hyperparameters

from tflbt import checks
from tflbt.tuning.left_graphs import settled


@checks.arguments
def space_of(hypermodel: Any) -> keras_tuner.HyperParameters:
    """Returns the hyper-parameters that a hypermodel declares, in `declare_hyperparameters` and in `build`.

    KerasTuner's tuners build a hypermodel until all of its conditional scopes were active, and find the rest in later
    trials. A `tflbt.tuning.Search` must know the whole space before. So this function builds the hypermodel with every
    value of each choice and both ends of each whole number, with the others at their defaults, and continues from
    values that reveal more (as in `for i in range(hp.Int("layers", 1, 3))`). The models are thrown away.
    Hyper-parameters of `hypermodel.fit` are not found: declare them in `declare_hyperparameters`.

    Args:
        hypermodel: A `keras_tuner.HyperModel`, or a function `hp -> model`.

    Returns:
        The space; it may be changed before it is passed to `Search`.

    Raises:
        ValueError: If the hypermodel is neither. Errors of building it with its defaults are raised too.

    Example:
        >>> def build(hp):
        ...     for layer in range(hp.Int("layers", 1, 3)):
        ...         hp.Choice(f"units_{layer}", [8, 16])
        >>> [parameter.name for parameter in space_of(build).space]
        ['layers', 'units_0', 'units_1', 'units_2']
    """
    hypermodel = as_hypermodel(hypermodel)
    space = keras_tuner.HyperParameters()
    to_try: list[dict[str, Any]] = [{}]
    scopes: list[Any] = []
    with settled():
        for values in to_try:  # grows
            tried = _declared(hypermodel, values)
            before = len(space.space)
            space.merge(tried.space, overwrite=False)
            for entry in space.space[before:]:
                to_try += [{**values, entry.name: value} for value in _others(entry)]
            for conditions in tried.inactive_scopes:
                if conditions not in scopes:
                    scopes.append(conditions)
                    to_try.append({**values, **{c.name: c.values[0] for c in conditions}})
            tf.keras.backend.clear_session()
            gc.collect()
    return space


def _declared(
    hypermodel: keras_tuner.HyperModel, values: dict[str, Any]
) -> keras_tuner.HyperParameters:
    """What a hypermodel declares with these values; only with its defaults must it build."""
    tried = keras_tuner.HyperParameters()
    tried.values = dict(values)
    try:
        hypermodel.declare_hyperparameters(tried)
        hypermodel.build(tried)
    except Exception as error:
        if not values:
            raise
        logging.info("hypermodel.build with %s: %s", values, error)  # such a trial will fail
    return tried


def _others(parameter: Any) -> Iterator[Any]:
    """Returns the values with which a hypermodel may declare more than with the default."""
    values: Any = ()
    if isinstance(parameter, (hyperparameters.Choice, hyperparameters.Boolean)):
        values = parameter.values
    elif isinstance(parameter, hyperparameters.Int):
        last = parameter.max_value if parameter.step is None else parameter.prob_to_value(1.0)
        values = (parameter.min_value, last)
    return (value for value in values if value != parameter.default)


def as_hypermodel(hypermodel: Any) -> keras_tuner.HyperModel:
    """Returns a hypermodel, or one that builds by a function `hp -> model`."""
    if isinstance(hypermodel, keras_tuner.HyperModel):
        return hypermodel
    if not callable(hypermodel):
        raise ValueError(
            f"hypermodel={hypermodel!r} must be a keras_tuner.HyperModel or a function hp -> model."
        )
    of_function = keras_tuner.HyperModel()
    of_function.build = hypermodel
    return of_function
