"""What a recipe makes: the process set up, and the model, data and callbacks that it says."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf

from tflbt import data, models
from tflbt.control.batch_plan import BatchPlan
from tflbt.distributed import comm, watchdog
from tflbt.recipes.batch import (
    build_adversarial,
    build_batch,
    build_batch_augmentation,
    build_small_loss,
    check_batch,
)
from tflbt.recipes.data import Samples, build_samples, check_data
from tflbt.recipes.monitors import build_monitors, check_monitors
from tflbt.recipes.optimizer import build_optimizer
from tflbt.recipes.schedules import build_schedules, check_schedules
from tflbt.training import (
    FGSM,
    LargeBatchModel,
    SmallLossDiscarding,
    SmoothedSparseCategoricalCrossentropy,
)

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A recipe made real: everything that `fit` needs.

    Attributes:
        config: The resolved configuration.
        model: The compiled model.
        train: Training images (or names of their files) and labels, as loaded.
        test: held-out images, standardised, and labels; of image files a data set of this rank's share.
        transform: Standardisation and augmentation of training sub-batches; of image files also reading and cropping.
        schedules: The callbacks that set learning rate and batch size.
        monitors: The callbacks that measure, before the schedules change anything.
        adversarial: How adversarial samples are made, or None.
        batch_augmentation: How many instances of each sample an update has.
        small_loss: How samples with small losses are discarded, or None.
    """

    config: ml_collections.ConfigDict
    model: LargeBatchModel
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray] | tf.data.Dataset
    transform: Any
    schedules: list[tf.keras.callbacks.Callback]
    monitors: list[tf.keras.callbacks.Callback] = dataclasses.field(default_factory=list)
    adversarial: FGSM | None = None
    batch_augmentation: data.BatchAugmentation = data.BatchAugmentation()
    small_loss: SmallLossDiscarding | None = None

    def fit(
        self,
        more_callbacks: list[tf.keras.callbacks.Callback],
        initial_epoch: int = 0,
        batch_size: int | None = None,
    ) -> tf.keras.callbacks.History:
        """Trains as the recipe says; a resumed run gives where to begin and the batch size it had reached."""
        config = self.config
        # A resumed run begins with another batch, but computes on as many samples at a time as it did before.
        plan = BatchPlan(config.batch_size, config.sub_batch_size, comm.size())
        with data.unreadable_named():
            return self.model.fit(
                *self.train,
                batch_size=batch_size or config.batch_size,
                sub_batch_size=plan.samples_a_rank_computes,
                epochs=config.epochs,
                initial_epoch=initial_epoch,
                verbose=0,
                callbacks=[*self.monitors, *self.schedules, *more_callbacks],
                validation_data=self.test,
                seed=config.seed,
                transform=self.transform,
                batch_augmentation=self.batch_augmentation,
                adversarial=self.adversarial,
                small_loss=self.small_loss,
                stall_limit=config.stall_limit,
            )


def prepare_process(config: ml_collections.ConfigDict) -> None:
    """Starts Horovod if launched under it, checks the numbers, and sets seeds, determinism and precision.

    Call it before anything else touches TensorFlow.

    Raises:
        ValueError: If a value cannot be; see `check`.
    """
    comm.init()
    check(config)
    # Generators with a state that can be set: a resumed run draws the same dropout.
    tf.keras.backend.experimental.enable_tf_random_generator()
    tf.keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    tf.keras.mixed_precision.set_global_policy(config.precision)


def build(
    config: ml_collections.ConfigDict,
    data_dir: str | Path | None = None,
    images: data.ImageData | data.StoredImages | None = None,
    samples: Samples | None = None,
) -> Recipe:
    """Loads the data and builds model, optimizer and schedules.

    Args:
        config: A `tflbt.recipes.default_config` with a recipe's values.
        data_dir: Where the data sets lie; digits need none.
        images: Samples to use in place of those that `config.data.name` names.
        samples: What `build_samples` made of the same `config.data` before.

    Returns:
        All that `fit` needs.

    Raises:
        ValueError: If a name or an option is unknown, or an option out of its range.
        OSError: If data cannot be read.
    """
    optimizer = build_optimizer(config.optimizer)
    samples = samples or build_samples(config, data_dir, images)
    model = build_model(config.model, samples.source)
    model.compile(
        optimizer,
        build_loss(config.label_smoothing),
        metrics=["accuracy"],
        jit_compile=config.jit_compile or None,
    )

    def first(wanted: bool, count: int) -> Any:
        """The first training samples, where they are needed."""
        return samples.first(count) if wanted else None

    schedule, growth, stability = config.schedule, config.batch_schedule, config.stability
    return Recipe(
        config=config,
        model=model,
        train=samples.train,
        test=samples.test,
        transform=samples.transform,
        schedules=[
            *build_schedules(
                config, first(schedule.name == "two_phase", schedule.curvature_samples)
            ),
            *build_batch(config, first(growth.name == "adaptive", growth.curvature_samples)),
        ],
        monitors=build_monitors(
            config, first(stability.every > 0, stability.batches * stability.batch_size)
        ),
        adversarial=build_adversarial(config, samples.standardize),
        batch_augmentation=build_batch_augmentation(config),
        small_loss=build_small_loss(config),
    )


def check(config: ml_collections.ConfigDict) -> None:
    """Raises for values that cannot be, before anything is read, built or written; after `comm.init`.

    Raises:
        ValueError: Naming the key, its value and what would do.
    """
    plan = BatchPlan(config.batch_size, config.sub_batch_size, comm.size())
    _check_ghosts(config.model.get("ghost_batch_size"), plan)
    watchdog.configured_limit(config.stall_limit)
    _one_of("precision", config.precision, PRECISIONS)
    checkpoint = config.checkpoint
    for name, value, least in (
        ("epochs", config.epochs, 1),
        ("seed", config.seed, 0),
        ("checkpoint.every", checkpoint.every, 1),
        ("checkpoint.keep", checkpoint.keep, 1),
    ):
        if not value >= least:
            raise ValueError(f"config.{name}={value!r} must be at least {least}.")
    if not 0 <= config.label_smoothing < 1:
        raise ValueError(
            f"config.label_smoothing={config.label_smoothing!r} must be at least 0 and less than 1."
        )
    check_data(config)
    check_schedules(config)
    check_batch(config)
    check_monitors(config)


def build_model(
    config: ml_collections.ConfigDict, images: data.ImageData | data.StoredImages
) -> LargeBatchModel:
    """The model a recipe names, for these images.

    Raises:
        ValueError: If the name or an option is unknown.
    """
    options = {"input_shape": images.image_shape, "classes": images.classes, **config.to_dict()}
    return LargeBatchModel.from_model(models.build(options.pop("name"), **options))


def build_loss(label_smoothing: float) -> tf.keras.losses.Loss:
    """Cross-entropy of logits and integer labels, smoothed if asked for.

    Raises:
        ValueError: If the share is not at least 0 and less than 1.
    """
    if label_smoothing:
        return SmoothedSparseCategoricalCrossentropy(label_smoothing)
    return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _check_ghosts(size: int | None, plan: BatchPlan) -> None:
    """Raises where no sub-batch holds a whole ghost: the run would silently have smaller ones."""
    if size is None:
        return
    computed = plan.samples_a_rank_computes
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(
            f"config.model.ghost_batch_size={size!r} must be a positive number of samples."
        )
    if size > computed:
        raise ValueError(
            f"config.model.ghost_batch_size={size} is more than the {computed} samples that a rank computes at a time, "
            f"so that no ghost would have {size}: use at most {computed}, or a config.sub_batch_size (or a larger "
            f"share of config.batch_size={plan.batch_size}) that is a multiple of {size}."
        )


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"config.{name}={value!r} must be one of {', '.join(known)}.")
