"""What must hold of a space before a search begins: a slip of the pen costs seconds, not the tenth trial."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras_tuner
import ml_collections
from keras_tuner.engine import hyperparameters

from tflbt.tuning import values

# What no check of a recipe says, for it holds only where the key is used: (lowest, highest), both excluded.
_BETWEEN = {"schedule.beta": (0.0, 1.0), "optimizer.learning_rate": (0.0, math.inf)}
# Keys that do nothing unless another key has one of some values, or is more than 0.
_USED_WITH: tuple[tuple[str, str, str, tuple[str, ...] | int], ...] = (
    (
        "schedule",
        "beta patience extra_fraction min_delta min_learning_rate iterations method curvature_samples",
        "schedule.name",
        ("two_phase",),
    ),
    ("schedule", "epochs factor", "schedule.name", ("step",)),
    ("schedule", "power", "schedule.name", ("polynomial",)),
    ("schedule", "grain", "schedule.name", ("cosine",)),
    ("schedule", "end_factor until", "schedule.name", ("polynomial", "cosine")),
    ("schedule", "after_warmup", "schedule.name", ("polynomial", "cosine", "cyclical")),
    ("schedule", "length lowest_factor shape", "schedule.name", ("cyclical",)),
    ("warmup", "initial_factor shape", "warmup.epochs", 0),
    (
        "batch_schedule",
        "alpha beta kappa omega tau measure_every reference layers method iterations tolerance curvature_samples",
        "batch_schedule.name",
        ("adaptive",),
    ),
    ("batch_schedule", "omega tau", "adversarial.share", 0),
    ("batch_schedule", "epochs factor", "batch_schedule.name", ("grow",)),
    ("batch_schedule", "max_batch_size", "batch_schedule.name", ("grow", "adaptive")),
    (
        "batch_schedule",
        "first_batch_size first_learning_rate first_epochs",
        "batch_schedule.name",
        ("first_epochs",),
    ),
    ("batch_augmentation", "placement", "batch_augmentation.instances", 1),
    ("small_loss", "epochs scope", "small_loss.share", 0),
    ("adversarial", "epsilon", "adversarial.share", 0),
    ("data", "cutout_count", "data.cutout_size", 0),
)


def check(
    hp: keras_tuner.HyperParameters,
    config: ml_collections.ConfigDict,
    check_config: Callable[[ml_collections.ConfigDict], Any],
) -> None:
    """Raises for a space with which trials would fail, or whose hyper-parameters the recipe does not use.

    Tried are all values of a choice, and of a range both ends, the value beside the lower one where there are steps,
    and the default. A value must pass with the recipe as it is, or in a trial whose other values are the space's
    defaults. Of a conditional hyper-parameter the parents are set.

    Args:
        hp: The space.
        config: The recipe's configuration.
        check_config: Raises ValueError for a configuration that cannot be.

    Raises:
        ValueError: If the space has no hyper-parameters; if one is no key of the recipe or not used by it, has an empty
            range, or a value that `check_config` refuses; the message names it.

    Example:
        >>> hp = keras_tuner.HyperParameters()
        >>> _ = hp.Float("schedule.beta", 0.5, 1.5)
        >>> config = ml_collections.ConfigDict({"schedule": {"name": "two_phase", "beta": 0.5}})
        >>> check(hp, config, lambda config: None)
        Traceback (most recent call last):
        ...
        ValueError: schedule.beta=1.5 must be between 0 and 1.
    """
    if not hp.space:
        raise ValueError("The space is empty: it must have at least one hyper-parameter.")
    names = [one.name for one in hp.space]
    for one in hp.space:
        values.apply(config, {one.name: one.default})
        if names.count(one.name) > 1:
            raise ValueError(
                f"{one.name} must stand once in a space: KerasTuner loses its values under several conditions."
            )
        _check_range(one)
    try:
        check_config(config)
    except ValueError:  # no hyper-parameter's fault, unless the space is there to mend it
        check_config(values.apply(config, _trial(hp, {})))
    for one in hp.space:
        _check_used(one, hp, config)
        for value in _extremes(one):
            _check_value(one, value, hp, config, check_config)


def _check_range(one: Any) -> None:
    """Raises for a range of fewer than two values, which KerasTuner accepts, and for one value given twice."""
    name = one.name
    if isinstance(one, hyperparameters.Choice) and len(set(one.values)) < len(one.values):
        raise ValueError(f"{name}={one.values!r} must have each value once.")
    if not isinstance(one, (hyperparameters.Float, hyperparameters.Int)):
        return
    low, high, step, default = one.min_value, one.max_value, one.step, one.default
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name}: the range {low!r} to {high!r} is empty, or no range of numbers.")
    if step is not None and not (step > 0 and len(list(itertools.islice(one.values, 2))) == 2):
        raise ValueError(
            f"{name}: step={step!r} leaves one value of the range {low!r} to {high!r}."
        )
    if not low <= default <= high:
        raise ValueError(f"{name}: default={default!r} is not in the range {low!r} to {high!r}.")


def _check_used(
    one: Any, hp: keras_tuner.HyperParameters, config: ml_collections.ConfigDict
) -> None:
    """Raises for a hyper-parameter that would change nothing."""
    section, _, key = one.name.partition(".")
    for of_section, keys, switch, on in _USED_WITH:
        if section != of_section or key.partition(".")[0] not in keys.split():
            continue
        own = values.value_of(values.apply(config, _parents(one)), switch)
        searched = [v for other in hp.space if other.name == switch for v in _extremes(other)]
        if any(v > on if isinstance(on, int) else v in on for v in (own, *searched)):
            continue
        wanted = f"more than {on}" if isinstance(on, int) else " or ".join(on)
        raise ValueError(
            f"{one.name} is not used by this recipe, whose {switch} is {own!r}: take a recipe where it is {wanted}, "
            f"set --config.{switch}, or search {switch} too."
        )


def _extremes(one: Any) -> Iterator[Any]:
    """The values at which a trial would fail if any does."""
    if not isinstance(one, (hyperparameters.Float, hyperparameters.Int)):
        yield from one.values
        return
    if one.step is not None:  # the upper end may lie between two steps
        yield from itertools.islice(one.values, 2)
        yield one.prob_to_value(1.0)
    else:
        yield from (one.min_value, one.max_value)
        if isinstance(one, hyperparameters.Int):
            yield one.min_value + 1
    yield one.default


def _check_value(
    one: Any,
    value: Any,
    hp: keras_tuner.HyperParameters,
    config: ml_collections.ConfigDict,
    check_config: Callable[[ml_collections.ConfigDict], Any],
) -> None:
    """Raises if a value cannot be, alone or in a trial with the others' defaults."""
    low, high = _BETWEEN.get(one.name, (-math.inf, math.inf))
    alone = {**_parents(one), one.name: value}
    changed = values.apply(config, alone)  # raises for another type
    if one.name in _BETWEEN and not low < value < high:
        ends = f"more than {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{one.name}={value!r} must be {ends}.")
    try:
        check_config(changed)
    except ValueError as error:
        try:
            check_config(values.apply(config, _trial(hp, alone)))
        except ValueError:
            raise ValueError(f"{one.name}={value!r} cannot be: {error}") from error


def _parents(one: Any) -> dict[str, Any]:
    """Values of other hyper-parameters with which this one is active."""
    return {condition.name: condition.values[0] for condition in one.conditions}


def _trial(hp: keras_tuner.HyperParameters, given: dict[str, Any]) -> dict[str, Any]:
    """The values of a trial, of which some are given and the others the defaults of those that are active."""
    trial = hp.copy()
    trial.values = dict(given)
    for one in trial.space:  # parents come before their children
        if one.name not in trial.values and trial.is_active(one):
            trial.values[one.name] = one.default
    return trial.values
