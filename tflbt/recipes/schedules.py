"""What a recipe says about the learning rate over time: checked early, and made into callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_collections
import tensorflow as tf

from tflbt import callbacks, schedules

# Those that are curves from the start; "two_phase" follows the training.
DECAYS = ("polynomial", "cosine", "cyclical")
SCHEDULES = ("constant", "step", "two_phase", *DECAYS)


def check_schedules(config: ml_collections.ConfigDict) -> None:
    """Raises for values of `config.warmup` and `config.schedule` that cannot be.

    Raises:
        ValueError: Naming the key, its value and what would do.
    """
    warmup, schedule = config.warmup, config.schedule
    if schedule.name not in SCHEDULES:
        raise ValueError(
            f"config.schedule.name={schedule.name!r} must be one of {', '.join(SCHEDULES)}."
        )
    for key, value, least in (
        ("warmup.epochs", warmup.epochs, 0),
        ("schedule.curvature_samples", schedule.curvature_samples, 1),
    ):
        if not value >= least:
            raise ValueError(f"config.{key}={value!r} must be at least {least}.")
    if not all(isinstance(epoch, int) for epoch in schedule.epochs):
        raise ValueError(
            f"config.schedule.epochs={schedule.epochs!r} must be numbers of epochs, as (30, 45)."
        )
    end = "epochs" if schedule.until is None else "schedule.until"
    if schedule.name in DECAYS and _begin(config) >= _end(config):
        raise ValueError(
            f"config.warmup.epochs={warmup.epochs!r} must be less than config.{end}={_end(config)!r}, as "
            f"config.schedule.name={schedule.name!r} begins where the warm-up ends; or set "
            "config.schedule.after_warmup to False."
        )
    _by_key("warmup", lambda: _warmup(config, warmup.epochs or 1.0))
    _by_key("schedule", lambda: _decay(config))


def build_schedules(
    config: ml_collections.ConfigDict, curvature_data: Any
) -> list[tf.keras.callbacks.Callback]:
    """The callbacks that set the learning rate, warm-up first."""
    schedule = config.schedule
    made: list[tf.keras.callbacks.Callback] = []
    if config.warmup.epochs:
        made.append(_warmup(config, config.warmup.epochs))
    made.extend(_decay(config))
    if schedule.name == "two_phase":
        made.append(
            callbacks.TwoPhaseSchedule(
                schedule.beta,
                schedule.patience,
                schedule.extra_fraction,
                curvature_data,
                min_delta=schedule.min_delta,
                min_learning_rate=schedule.min_learning_rate,
                measure_exploration=schedule.measure_exploration,
                iterations=schedule.iterations,
                method=schedule.method,
                seed=config.seed,
            )
        )
    return made


def _warmup(config: ml_collections.ConfigDict, epochs: float) -> callbacks.Warmup:
    return callbacks.Warmup(epochs, config.warmup.initial_factor, config.warmup.shape)


def _begin(config: ml_collections.ConfigDict) -> float:
    """The epoch at which a decay begins."""
    return config.warmup.epochs if config.schedule.after_warmup else 0.0


def _end(config: ml_collections.ConfigDict) -> float:
    """The epoch at which a decay ends, which may be before the training does."""
    return config.epochs if config.schedule.until is None else config.schedule.until


def _decay(config: ml_collections.ConfigDict) -> list[tf.keras.callbacks.Callback]:
    """The decay that is known from the start, if there is one."""
    schedule, begin = config.schedule, _begin(config)
    if schedule.name == "step":
        return [callbacks.StepDecay(schedule.epochs, schedule.factor)]
    curve: schedules.Curve
    if schedule.name == "polynomial":
        curve = schedules.PolynomialDecay(
            _end(config), schedule.power, schedule.end_factor, begin=begin
        )
    elif schedule.name == "cosine":
        curve = schedules.CosineDecay(
            _end(config), schedule.end_factor, begin=begin, grain=schedule.grain
        )
    elif schedule.name == "cyclical":
        curve = schedules.Cyclical(
            schedule.length, schedule.lowest_factor, schedule.shape, begin=begin
        )
    else:
        return []
    return [callbacks.RateCurve(curve)]


def _by_key(section: str, make: Callable[[], Any]) -> None:
    """Runs a constructor whose arguments are called as the keys of a section, and names the key in its error."""
    try:
        make()
    except ValueError as error:
        raise ValueError(f"config.{section}.{error}") from error
