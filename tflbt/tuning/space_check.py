"""What must hold of a space before a search begins: a slip of the pen costs seconds, not the tenth trial."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras_tuner
from keras_tuner.engine import hyperparameters
from ml_collections import ConfigDict

from tflbt.tuning import values


def check(
    hp: keras_tuner.HyperParameters,
    config: ConfigDict,
    check_config: Callable[[ConfigDict], Any],
    used_with: Mapping[str, tuple[str, Any]] | None = None,
) -> None:
    """Checks that every trial of a space can run, and that the recipe uses every hyper-parameter.

    Tried with `check_config` are all values of a choice, and of a range both ends, the value beside the lower one where
    there are steps, and the default. A value must pass with the recipe as it is, or in a trial whose other values are
    the space's defaults. Of a conditional hyper-parameter the parents are set. `used_with` gives, by section or key,
    the key that switches it on and the value with which it is off.

    Raises:
        ValueError: If trials would fail, or the recipe does not use a hyper-parameter; names it.
    """
    if not hp.space:
        raise ValueError("The space is empty: it must have at least one hyper-parameter.")
    names = [parameter.name for parameter in hp.space]
    for parameter in hp.space:
        brought = values.bringing(hp, config, parameter)
        values.apply(config, {**brought, parameter.name: parameter.default})
        if names.count(parameter.name) > 1:
            raise ValueError(
                f"{parameter.name} must stand once in a space: KerasTuner loses its values under several conditions."
            )
        _check_range(parameter)
    try:
        check_config(config)
    except ValueError:  # no hyper-parameter's fault, unless the space is there to mend it
        check_config(values.apply(config, _trial(hp, {})))
    for parameter in hp.space:
        _check_used(parameter, hp, config, used_with or {})
        for value in _extremes(parameter):
            _check_value(parameter, value, hp, config, check_config)


def _check_range(parameter: Any) -> None:
    """Raises for a range of fewer than two values, which KerasTuner accepts, and for one value given twice."""
    name, default = parameter.name, parameter.default
    if isinstance(parameter, hyperparameters.Choice):
        values = parameter.values
        if len(set(values)) < len(values):
            raise ValueError(f"{name}={values!r} must have each value once.")
    if not isinstance(parameter, (hyperparameters.Float, hyperparameters.Int)):
        return
    low, high, step = parameter.min_value, parameter.max_value, parameter.step
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name}: the range {low!r} to {high!r} is empty, or no range of numbers.")
    if step is not None and not (step > 0 and len([*itertools.islice(parameter.values, 2)]) == 2):
        raise ValueError(
            f"{name}: step={step!r} leaves one value of the range {low!r} to {high!r}."
        )
    if not low <= default <= high:
        raise ValueError(f"{name}: default={default!r} is not in the range {low!r} to {high!r}.")


def _check_used(
    parameter: Any,
    hp: keras_tuner.HyperParameters,
    config: ConfigDict,
    used_with: Mapping[str, tuple[str, Any]],
) -> None:
    """Raises for a hyper-parameter that would change nothing."""
    name = parameter.name
    for part, (switch, off) in used_with.items():
        if name == switch or not f"{name}.".startswith(f"{part}."):
            continue
        own = values.value_of(values.apply(config, _parents(parameter)), switch)
        searched = [v for other in hp.space if other.name == switch for v in _extremes(other)]
        if not any(value > off for value in (own, *searched)):
            raise ValueError(
                f"{name} is not used by this recipe, whose {switch} is {own!r}: take a recipe where it is more than "
                f"{off}, set --config.{switch}, or search {switch} too."
            )


def _extremes(parameter: Any) -> Iterator[Any]:
    """The values at which a trial would fail if any does."""
    if not isinstance(parameter, (hyperparameters.Float, hyperparameters.Int)):
        yield from parameter.values
        return
    if parameter.step is not None:  # the upper end may lie between two steps
        yield from (*itertools.islice(parameter.values, 2), parameter.prob_to_value(1.0))
    else:
        yield from (parameter.min_value, parameter.max_value)
        if isinstance(parameter, hyperparameters.Int):
            yield parameter.min_value + 1
    yield parameter.default


def _check_value(
    parameter: Any,
    value: Any,
    hp: keras_tuner.HyperParameters,
    config: ConfigDict,
    check_config: Callable[[ConfigDict], Any],
) -> None:
    """Raises if a value cannot be, alone or in a trial with the others' defaults."""
    brought = {**values.bringing(hp, config, parameter), **_parents(parameter)}
    alone = {**brought, parameter.name: value}
    changed = values.apply(config, alone)  # raises for another type
    try:
        check_config(changed)
    except ValueError as error:
        try:
            check_config(values.apply(config, _trial(hp, alone)))
        except ValueError:
            raise ValueError(f"{parameter.name}={value!r} cannot be: {error}") from error


def _parents(parameter: Any) -> dict[str, Any]:
    """Values of other hyper-parameters with which this one is active."""
    return {condition.name: condition.values[0] for condition in parameter.conditions}


def _trial(hp: keras_tuner.HyperParameters, fixed: dict[str, Any]) -> dict[str, Any]:
    """The values of a trial: some fixed, the others the defaults of the parameters that are active."""
    trial = hp.copy()
    trial.values = dict(fixed)
    for parameter in trial.space:  # parents come before their children
        if parameter.name not in trial.values and trial.is_active(parameter):
            trial.values[parameter.name] = parameter.default
    return trial.values
