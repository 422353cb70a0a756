"""What a recipe makes: the process set up, and the model, data and callbacks that it says."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf

from tflbt import callbacks, data, models, optimizers
from tflbt.control.batch_plan import BatchPlan
from tflbt.distributed import comm, watchdog
from tflbt.training import LargeBatchModel

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SCHEDULES = ("constant", "step", "two_phase")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A recipe made real: everything that `fit` needs.

    Attributes:
      config: the resolved configuration.
      model: the compiled model.
      train: training images and labels, as loaded.
      test: held-out images, standardised, and labels.
      transform: standardisation and augmentation of training sub-batches.
      schedules: the callbacks that set the learning rate.
    """

    config: ml_collections.ConfigDict
    model: LargeBatchModel
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    transform: Any
    schedules: list[tf.keras.callbacks.Callback]

    def fit(
        self,
        more_callbacks: list[tf.keras.callbacks.Callback],
        initial_epoch: int = 0,
        batch_size: int | None = None,
    ) -> tf.keras.callbacks.History:
        """Trains as the recipe says; a resumed run gives where to begin and the batch size it had reached."""
        config = self.config
        return self.model.fit(
            *self.train,
            batch_size=batch_size or config.batch_size,
            sub_batch_size=config.sub_batch_size,
            epochs=config.epochs,
            initial_epoch=initial_epoch,
            verbose=0,
            callbacks=[*self.schedules, *more_callbacks],
            validation_data=self.test,
            seed=config.seed,
            transform=self.transform,
            stall_limit=config.stall_limit,
        )


def prepare_process(config: ml_collections.ConfigDict) -> None:
    """Starts Horovod if launched under it, checks the numbers, and sets seeds, determinism and precision.

    Call it before anything else touches TensorFlow.

    Raises:
      ValueError: if a value cannot be; see `check`.
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
    images: data.ImageData | None = None,
) -> Recipe:
    """Loads the data and builds model, optimizer and schedules.

    Args:
      config: a `tflbt.recipe.default_config` with a recipe's values.
      data_dir: where the data sets lie; digits need none.
      images: samples to use in place of those that `config.data.name` names.

    Returns:
      All that `fit` needs.

    Raises:
      ValueError: if a name or an option is unknown, or an option out of its range.
      OSError: if data cannot be read.
    """
    optimizer = build_optimizer(config.optimizer)
    images = images or data.load(config.data.name, data_dir)
    standardize = data.fit_standardize(images.x_train, config.data.standardize)
    model = build_model(config.model, images)
    model.compile(
        optimizer,
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=config.jit_compile or None,
    )
    samples = config.schedule.curvature_samples
    curvature_data = (standardize(images.x_train[:samples]).numpy(), images.y_train[:samples])
    return Recipe(
        config=config,
        model=model,
        train=(images.x_train, images.y_train),
        test=(standardize(images.x_test).numpy(), images.y_test),
        transform=_transform(config.data, standardize),
        schedules=build_schedules(config, curvature_data),
    )


def check(config: ml_collections.ConfigDict) -> None:
    """Raises for values that cannot be, before anything is read, built or written; after `comm.init`.

    Raises:
      ValueError: naming the key, its value and what would do.
    """
    BatchPlan(config.batch_size, config.sub_batch_size, comm.size())
    watchdog.configured_limit(config.stall_limit)
    _one_of("precision", config.precision, PRECISIONS)
    _one_of("schedule.name", config.schedule.name, SCHEDULES)
    checkpoint, schedule = config.checkpoint, config.schedule
    for name, value, least in (
        ("epochs", config.epochs, 1),
        ("seed", config.seed, 0),
        ("data.padding", config.data.padding, 0),
        ("warmup.epochs", config.warmup.epochs, 0),
        ("schedule.curvature_samples", schedule.curvature_samples, 1),
        ("checkpoint.every", checkpoint.every, 1),
        ("checkpoint.keep", checkpoint.keep, 1),
    ):
        if not value >= least:
            raise ValueError(f"config.{name}={value!r} must be at least {least}.")
    if not all(isinstance(epoch, int) for epoch in schedule.epochs):
        raise ValueError(
            f"config.schedule.epochs={schedule.epochs!r} must be numbers of epochs, as (30, 45)."
        )


def build_model(config: ml_collections.ConfigDict, images: data.ImageData) -> LargeBatchModel:
    """The model a recipe names, for these images.

    Raises:
      ValueError: if the name or an option is unknown.
    """
    options = {"input_shape": images.image_shape, "classes": images.classes, **config.to_dict()}
    return LargeBatchModel.from_model(models.build(options.pop("name"), **options))


def build_optimizer(config: ml_collections.ConfigDict) -> tf.keras.optimizers.Optimizer:
    """The optimizer a recipe names: tflbt's, or else Keras's.

    Raises:
      ValueError: if the name or an argument is unknown.
    """
    options = config.to_dict()
    name = options.pop("name")
    cls = getattr(optimizers, name, None) if name in optimizers.__all__ else None
    cls = cls or getattr(tf.keras.optimizers, name, None)
    if not (inspect.isclass(cls) and issubclass(cls, tf.keras.optimizers.Optimizer)):
        raise ValueError(
            f"config.optimizer.name={name!r} is no optimizer: use {', '.join(optimizers.__all__)} of tflbt, or one of "
            "tf.keras.optimizers by its class name (SGD, Adam, AdamW, RMSprop, ...)."
        )
    known = [*inspect.signature(cls).parameters, "clipnorm", "clipvalue", "global_clipnorm"]
    for option in options:
        if option not in known:
            raise ValueError(
                f"config.optimizer.{option} is no argument of {name}: it takes {', '.join(known)}."
            )
    return cls(**options)


def build_schedules(
    config: ml_collections.ConfigDict, curvature_data: Any
) -> list[tf.keras.callbacks.Callback]:
    """The callbacks that set the learning rate, warm-up first."""
    schedule = config.schedule
    made: list[tf.keras.callbacks.Callback] = []
    if config.warmup.epochs:
        made.append(callbacks.Warmup(config.warmup.epochs, config.warmup.initial_factor))
    if schedule.name == "step":
        made.append(callbacks.StepDecay(schedule.epochs, schedule.factor))
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


def _transform(config: ml_collections.ConfigDict, standardize: Any) -> Any:
    if not config.padding and not config.flip:
        return standardize
    return data.chain(standardize, data.PadCropFlip(config.padding, config.flip))


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"config.{name}={value!r} must be one of {', '.join(known)}.")
