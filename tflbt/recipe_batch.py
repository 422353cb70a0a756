"""What a recipe says about the batch over time and adversarial samples: checked early, and made into callbacks."""

from __future__ import annotations

from typing import Any

import ml_collections
import tensorflow as tf

from tflbt import callbacks
from tflbt.control.adaptive_batch import check_ratios
from tflbt.curvature.estimate import METHODS
from tflbt.training import FGSM

BATCH_SCHEDULES = ("constant", "grow", "adaptive")


def check_batch(config: ml_collections.ConfigDict) -> None:
    """Raises for values of `config.batch_schedule` and `config.adversarial` that cannot be.

    Raises:
      ValueError: naming the key, its value and what would do.
    """
    schedule = config.batch_schedule
    if schedule.name not in BATCH_SCHEDULES:
        raise ValueError(
            f"config.batch_schedule.name={schedule.name!r} must be one of {', '.join(BATCH_SCHEDULES)}."
        )
    if schedule.name != "constant":
        largest = schedule.max_batch_size
        if largest is None or largest < config.batch_size:
            raise ValueError(
                f"config.batch_schedule.max_batch_size={largest!r} must be at least "
                f"config.batch_size={config.batch_size!r}."
            )
    if not all(isinstance(epoch, int) for epoch in schedule.epochs):
        raise ValueError(
            f"config.batch_schedule.epochs={schedule.epochs!r} must be numbers of epochs, as (30, 60, 80)."
        )
    try:
        check_ratios(schedule.alpha, schedule.beta, schedule.kappa, schedule.omega)
        build_batch(config, (0, 0))  # the constructors check the rest
    except ValueError as error:
        raise ValueError(f"config.batch_schedule.{error}") from error
    if schedule.name == "adaptive":
        _check_measurement(config)
    if config.adversarial.share:
        try:
            FGSM(config.adversarial.share, config.adversarial.epsilon)
        except ValueError as error:
            raise ValueError(f"config.adversarial.{error}") from error


def _check_measurement(config: ml_collections.ConfigDict) -> None:
    """Raises where the first measurement, which may come after hours, would."""
    schedule = config.batch_schedule
    for key, good, would_do in (
        ("curvature_samples", schedule.curvature_samples >= 1, "at least 1"),
        ("iterations", schedule.iterations >= 1, "at least 1"),
        ("tolerance", schedule.tolerance > 0, "more than 0"),
        ("method", schedule.method in METHODS, f"one of {', '.join(METHODS)}"),
        (
            "method",
            schedule.method == "exact" or schedule.layers == "output",
            f"exact with layers={schedule.layers!r}",
        ),
    ):
        if not good:
            raise ValueError(f"config.batch_schedule.{key}={schedule[key]!r} must be {would_do}.")
    if config.schedule.name == "two_phase":
        raise ValueError(
            "config.schedule.name='two_phase' does not go with config.batch_schedule.name='adaptive': both measure "
            "an eigenvalue, and metrics.csv has one column for it."
        )


def build_batch(
    config: ml_collections.ConfigDict, curvature_data: Any
) -> list[tf.keras.callbacks.Callback]:
    """The callback that changes the batch size, if there is one."""
    schedule = config.batch_schedule
    if schedule.name == "grow":
        return [
            callbacks.GrowBatchSize(
                schedule.epochs, schedule.factor, max_batch_size=schedule.max_batch_size
            )
        ]
    if schedule.name != "adaptive":
        return []
    options = {
        key: schedule[key]
        for key in (
            "omega", "tau", "measure_every", "reference", "layers", "method", "iterations", "tolerance",
        )
    }  # fmt: skip
    return [
        callbacks.AdaptiveBatchSize(
            schedule.max_batch_size,
            schedule.alpha,
            schedule.beta,
            schedule.kappa,
            curvature_data,
            seed=config.seed,
            **options,
        )
    ]


def build_adversarial(config: ml_collections.ConfigDict, standardize: Any) -> FGSM | None:
    """How adversarial samples are made; None where the recipe asks for none."""
    if not config.adversarial.share:
        return None
    return FGSM.of_images(standardize, config.adversarial.share, config.adversarial.epsilon)
