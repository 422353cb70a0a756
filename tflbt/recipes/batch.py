"""What a recipe says about the batch and what is in it, over time: checked early, and made into what `fit` takes."""

from __future__ import annotations

from typing import Any

import ml_collections
import tensorflow as tf

from tflbt import callbacks
from tflbt.control.adaptive_batch import check_ratios
from tflbt.control.batch_plan import BatchPlan
from tflbt.curvature.estimate import METHODS
from tflbt.data import BatchAugmentation
from tflbt.distributed import comm
from tflbt.training import FGSM, SmallLossDiscarding

BATCH_SCHEDULES = ("constant", "grow", "adaptive", "first_epochs")


def check_batch(config: ml_collections.ConfigDict) -> None:
    """Raises for values of `config.batch_schedule` and `config.adversarial` that cannot be.

    Raises:
        ValueError: Naming the key, its value and what would do.
    """
    schedule = config.batch_schedule
    if schedule.name not in BATCH_SCHEDULES:
        raise ValueError(
            f"config.batch_schedule.name={schedule.name!r} must be one of {', '.join(BATCH_SCHEDULES)}."
        )
    if schedule.name in ("grow", "adaptive"):
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
    first = (
        "first_" if schedule.name == "first_epochs" else ""
    )  # what the keys of its arguments begin with
    try:
        check_ratios(schedule.alpha, schedule.beta, schedule.kappa, schedule.omega)
        if not first or schedule.first_batch_size is not None:
            build_batch(config, (0, 0))  # the constructors check the rest
    except ValueError as error:
        raise ValueError(f"config.batch_schedule.{first}{error}") from error
    if schedule.name == "adaptive":
        _check_measurement(config)
    if schedule.name == "first_epochs":
        _check_first_epochs(config)
    for section, build in (
        ("adversarial", lambda part: part.share and FGSM(part.share, part.epsilon)),
        ("batch_augmentation", lambda part: BatchAugmentation(**part)),
        ("small_loss", lambda part: SmallLossDiscarding(**part)),
    ):
        try:
            build(config[section])
        except ValueError as error:
            raise ValueError(f"config.{section}.{error}") from error
    plan = BatchPlan(config.batch_size, config.sub_batch_size, comm.size())
    try:
        build_batch_augmentation(config).check(
            plan.sub_batches, plan.samples_a_rank_computes, plan.ranks
        )
    except ValueError as error:
        raise ValueError(f"config.batch_augmentation.{error}") from error


def _check_first_epochs(config: ml_collections.ConfigDict) -> None:
    """Raises where the first epoch's batch does not divide as the recipe's does."""
    schedule = config.batch_schedule
    if schedule.first_batch_size is None:
        raise ValueError(
            "config.batch_schedule.first_batch_size=None must be the batch of the first epochs, such as 512."
        )
    plan = BatchPlan(config.batch_size, config.sub_batch_size, comm.size())
    try:
        plan.with_batch_size(schedule.first_batch_size)
    except ValueError as error:
        raise ValueError(f"config.batch_schedule.first_{error}") from error


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
    if schedule.name == "first_epochs":
        return [
            callbacks.FirstEpochsBatch(
                schedule.first_batch_size, schedule.first_learning_rate, schedule.first_epochs
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


def build_batch_augmentation(config: ml_collections.ConfigDict) -> BatchAugmentation:
    """How many instances of each sample an update has, and where they are."""
    return BatchAugmentation(**config.batch_augmentation)


def build_small_loss(config: ml_collections.ConfigDict) -> SmallLossDiscarding | None:
    """How samples with small losses are discarded; None where the recipe asks for none."""
    if not config.small_loss.share:
        return None
    return SmallLossDiscarding(**config.small_loss)
