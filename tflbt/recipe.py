"""What a recipe in `hparams/` may say, and the model, data and callbacks that it says."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf
from ml_collections import config_dict

from tflbt import callbacks, data, models, optimizers
from tflbt.control.batch_plan import BatchPlan
from tflbt.distributed import comm
from tflbt.training import LargeBatchModel

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SCHEDULES = ("constant", "step", "two_phase")


def default_config() -> ml_collections.ConfigDict:
    """Every key that a recipe may set, with its default; a key that is not here is an error.

    `model` and `optimizer` hold a name and the arguments of that model (`tflbt.models`) or optimizer
    (`tflbt.optimizers`, else `tf.keras.optimizers`): a recipe lists those it sets or wants to be settable.

    Returns:
      A locked `ConfigDict`.

    Example:
      >>> config = default_config()
      >>> config.schedule.name, config.schedule.beta
      ('constant', 0.5)
    """
    config = ml_collections.ConfigDict()
    config.name = ""  # of the recipe and variant, for the report
    config.seed = 0  # of the initial weights, the order of samples, augmentation, dropout
    config.deterministic = True  # same seed, same ranks: same run, bit for bit
    config.precision = "float32"  # or mixed_bfloat16, mixed_float16
    config.jit_compile = False  # XLA for the computation of a sub-batch
    config.epochs = 1
    config.batch_size = 128  # samples an update, over all ranks
    config.sub_batch_size = config_dict.placeholder(int)  # samples in memory; None: a rank's share
    config.stall_limit = 600.0  # seconds without progress that end a job of several ranks; 0: never
    config.data = ml_collections.ConfigDict(
        {
            "name": "digits",  # digits, mnist, cifar10, cifar100
            "standardize": "per_pixel",  # or per_channel, divide_255
            "padding": 0,  # pixels for random crops; 0: none
            "flip": False,  # mirror half of the images
        }
    )
    config.model = ml_collections.ConfigDict({"name": "digits_resnet"})
    config.optimizer = ml_collections.ConfigDict({"name": "SGD", "learning_rate": 0.1})
    config.warmup = ml_collections.ConfigDict(
        {"epochs": 0.0, "initial_factor": 0.0}  # 0 epochs: none
    )
    config.schedule = ml_collections.ConfigDict(
        {
            "name": "constant",  # step, two_phase
            "epochs": (),  # step: decay after these epochs
            "factor": 0.1,  # step: by this factor
            "beta": 0.5,  # two_phase: decay factor
            "patience": config_dict.placeholder(int),  # two_phase: None: 5% of the epochs
            "extra_fraction": 1 / 3,  # two_phase: extra epochs over those up to the plateau
            "min_delta": 0.0,
            "min_learning_rate": 0.0,
            "measure_exploration": True,  # for the figure; the schedule needs it from the switch on
            "iterations": 10,  # power iterations an estimate
            "method": "finite_difference",  # or exact
            "curvature_samples": config_dict.placeholder(int),  # None: one batch
        }
    )
    config.checkpoint = ml_collections.ConfigDict({"every": 1, "keep": 2})
    return config.lock()


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
    """Starts Horovod if launched under it, and sets seeds, determinism and precision.

    Call it before anything else touches TensorFlow.

    Raises:
      ValueError: if the precision is unknown.
    """
    _one_of("precision", config.precision, PRECISIONS)
    comm.init()
    # Generators with a state that can be set: a resumed run draws the same dropout.
    tf.keras.backend.experimental.enable_tf_random_generator()
    tf.keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    tf.keras.mixed_precision.set_global_policy(config.precision)


def build(config: ml_collections.ConfigDict, data_dir: str | Path | None = None) -> Recipe:
    """Loads the data and builds model, optimizer and schedules.

    Args:
      config: a `default_config` with a recipe's values.
      data_dir: where the data sets lie; digits need none.

    Raises:
      ValueError: naming the key, its value and what would do; for a batch that does not divide, too.
      OSError: if data cannot be read.
    """
    BatchPlan(config.batch_size, config.sub_batch_size, comm.size())
    if config.epochs < 1:
        raise ValueError(f"config.epochs={config.epochs} must be at least 1.")
    optimizer = build_optimizer(config.optimizer)
    images = data.load(config.data.name, data_dir)
    standardize = data.fit_standardize(images.x_train, config.data.standardize)
    model = build_model(config.model, images)
    model.compile(
        optimizer,
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=config.jit_compile or None,
    )
    samples = config.schedule.curvature_samples or config.batch_size
    curvature_data = (standardize(images.x_train[:samples]).numpy(), images.y_train[:samples])
    return Recipe(
        config=config,
        model=model,
        train=(images.x_train, images.y_train),
        test=(standardize(images.x_test).numpy(), images.y_test),
        transform=_transform(config.data, standardize),
        schedules=build_schedules(config, curvature_data),
    )


def build_model(config: ml_collections.ConfigDict, images: data.ImageData) -> LargeBatchModel:
    """The model a recipe names, for these images."""
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
            raise ValueError(f"config.optimizer.{option} is no argument of {name}: it takes {', '.join(known)}.")
    return cls(**options)


def build_schedules(
    config: ml_collections.ConfigDict, curvature_data: Any
) -> list[tf.keras.callbacks.Callback]:
    """The callbacks that set the learning rate, warm-up first."""
    schedule = config.schedule
    _one_of("schedule.name", schedule.name, SCHEDULES)
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
