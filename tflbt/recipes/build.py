"""What a recipe makes: the process set up, and the model, data and callbacks that it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf

from tflbt import checks, data
from tflbt.control.batch_plan import BatchPlan
from tflbt.control.tail import TAILS
from tflbt.distributed import comm, watchdog
from tflbt.recipes import parts, sections
from tflbt.recipes.batch import first_plan
from tflbt.recipes.config import check_keys
from tflbt.recipes.data import Samples, build_samples, check_data
from tflbt.recipes.perplexity import Perplexity
from tflbt.recipes.run import Recipe
from tflbt.runs import directions
from tflbt.training import LargeBatchModel, SmoothedSparseCategoricalCrossentropy
from tflbt.training.ranks.ghost_groups import ranks_of_ghost
from tflbt.training.rules.augmentation_scale import check_instances
from tflbt.training.rules.noise_scale import check_apart

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
METRICS: dict[str, Callable[[], Any]] = {
    "accuracy": lambda: "accuracy",
    "top_5": lambda: tf.keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5"),
    "perplexity": Perplexity,
}


def prepare_process(config: ml_collections.ConfigDict) -> None:
    """Starts Horovod if launched under it, checks the recipe, and sets seeds, determinism and precision.

    Call it before anything else touches TensorFlow.
    """
    if (config.model.get("ghost_batch_size") or 0) > (config.sub_batch_size or 0):
        comm.allow_neighbours()
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
    """Loads the data that lie in `data_dir` and builds model, optimizer and schedules: all that `fit` needs.

    `images` take the place of the samples that `config.data.name` names; `samples` are what `build_samples` made of the
    same `config.data` before.
    """
    optimizer = sections.build(config, "optimizer")
    samples = samples or build_samples(config, data_dir, images)
    model = build_model(config, samples.source)
    loss = build_loss(config.label_smoothing, of_targets=config.target_noise.std > 0)
    metrics, compiles = build_metrics(config.metrics), config.jit_compile or None
    model.compile(optimizer, loss, metrics=metrics, jit_compile=compiles)
    return Recipe(
        config=config,
        model=model,
        train=samples.train,
        test=samples.test,
        transform=samples.transform,
        schedules=build_schedules(config, samples),
        monitors=build_monitors(config, samples),
        rules=build_rules(config, samples),
    )


def build_schedules(
    config: ml_collections.ConfigDict, samples: Samples | None = None
) -> list[tf.keras.callbacks.Callback]:
    """The callbacks that set learning rate, warm-up first, and batch size; without samples they can only be checked."""
    begin = config.warmup.epochs if config.schedule.get("after_warmup") else 0.0
    options = {"begin": begin, "epochs": config.epochs, "seed": config.seed}
    callbacks = [sections.build(config, "warmup")]
    for kind in ("schedule", "batch_schedule"):
        count = config[kind].get("curvature_samples")
        first = FirstSamples(samples, config.batch_size if count is None else count)
        callbacks.append(sections.build(config, kind, curvature_data=first, **options))
    return [callback for callback in callbacks if callback is not None]


def build_monitors(
    config: ml_collections.ConfigDict, samples: Samples | None = None
) -> list[tf.keras.callbacks.Callback]:
    """The callbacks that measure; they go before those that change the learning rate at an epoch's end."""
    stability = config.stability
    first = FirstSamples(
        samples, stability.batches * (stability.batch_size or 0) * bool(stability.every)
    )
    count = config.curvature.samples
    count = config.batch_size if count is None else count
    margin = FirstSamples(samples, config.margin.samples)
    monitors = [
        sections.build(config, "stability", curvature_data=first),
        sections.build(
            config, "curvature", curvature_data=FirstSamples(samples, count), seed=config.seed
        ),
        sections.build(config, "margin", margin_data=margin),
        sections.build(
            config,
            "signal_to_noise",
            gradient_data=FirstSamples(samples, config.signal_to_noise.samples),
            batch_size=config.batch_size,
        ),
        sections.build(config, "distance"),
    ]
    return [monitor for monitor in monitors if monitor is not None]


def build_rules(config: ml_collections.ConfigDict, samples: Samples | None = None) -> list[Any]:
    """What changes or observes every update; without samples they can only be checked."""
    standardize = None if samples is None else samples.standardize
    supplied = {"standardize": standardize, "seed": config.seed}
    rules = [sections.build(config, kind, **supplied) for kind in parts.RULES]
    return [rule for rule in rules if rule is not None]


@dataclasses.dataclass(frozen=True)
class FirstSamples:
    """The first training samples, on which curvature is measured: made or read as `fit` starts."""

    samples: Samples | None
    count: int | None

    def __call__(self) -> tuple[np.ndarray, np.ndarray]:
        """All of them."""
        return self.of_rank(0, 1)

    def of_rank(self, rank: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """A rank's share, so that no rank holds a batch of 16,384 large images."""
        assert self.samples is not None and self.count
        return self.samples.first(self.count, rank, size)


def check(config: ml_collections.ConfigDict) -> None:
    """Builds all that needs no data, before anything is read or written; after `comm.init`. Errors name the key."""
    check_keys(config)
    sections.build(config, "elastic")
    with sections.naming("", config):
        plan = first_plan(config)
        watchdog.configured_limit(config.stall_limit)
    checks.whole("config.epochs", config.epochs, at_least=1)
    checks.whole("config.seed", config.seed, at_least=0, at_most=2**32 - 1)  # NumPy's global
    checks.one_of("config.tail", config.tail, TAILS)
    checks.one_of("config.precision", config.precision, PRECISIONS)
    checks.number("config.label_smoothing", config.label_smoothing, at_least=0, less_than=1)
    build_metrics(config.metrics)
    directions.check("config.directions", config.directions)
    check_data(config)
    sections.check(config, "model")
    _check_ghosts(config.model.get("ghost_batch_size"), plan)
    sections.build(config, "optimizer")
    _check_schedules(config, plan)
    build_schedules(config)
    build_monitors(config)
    _check_signal(config)
    sections.build(config, "checkpoint", directory="checkpoints")
    if config.augmentation_scale.measure:
        augmentation = sections.build(config, "batch_augmentation") or data.BatchAugmentation()
        with sections.naming("batch_augmentation", config.batch_augmentation):
            check_instances(augmentation, plan)
    for rule in build_rules(config):
        if isinstance(rule, data.BatchAugmentation):
            with sections.naming("batch_augmentation", config.batch_augmentation):
                rule.check(plan.sub_batches, plan.samples_a_rank_computes, plan.ranks)
                if config.noise_scale.measure:
                    check_apart(rule)


def build_model(
    config: ml_collections.ConfigDict, images: data.ImageData | data.StoredImages
) -> LargeBatchModel:
    """The model that a recipe names, for these images."""
    shape = {"input_shape": images.image_shape, "classes": images.classes}
    return LargeBatchModel.from_model(sections.build(config, "model", **shape))


def build_loss(label_smoothing: float, of_targets: bool = False) -> tf.keras.losses.Loss:
    """Cross-entropy of logits and integer labels, smoothed if the share is more than 0, or of real targets as well."""
    if label_smoothing or of_targets:
        return SmoothedSparseCategoricalCrossentropy(label_smoothing)
    return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build_metrics(names: tuple[str, ...]) -> list[Any]:
    """Keras metrics by name; raises ValueError for other names than `METRICS` has."""
    for name in names:
        checks.one_of("config.metrics", name, tuple(METRICS))
    return [METRICS[name]() for name in names]


def _check_schedules(config: ml_collections.ConfigDict, plan: BatchPlan) -> None:
    """Raises where the schedules go neither together nor with the batch."""
    schedule, growth = config.schedule, config.batch_schedule
    until = schedule.get("until")
    end = config.epochs if until is None else until
    curve = schedule.get("after_warmup") and schedule.name != "two_phase"
    if curve and config.warmup.epochs >= end:
        key = "epochs" if until is None else "schedule.until"
        raise ValueError(
            f"config.warmup.epochs={config.warmup.epochs!r} must be less than config.{key}={end!r}, as "
            f"config.schedule.name={schedule.name!r} begins where the warm-up ends; or set "
            "config.schedule.after_warmup to False."
        )
    largest = growth.get("max_batch_size", config.batch_size)
    if largest is None or largest < config.batch_size:
        raise ValueError(
            f"config.batch_schedule.max_batch_size={largest!r} must be at least "
            f"config.batch_size={config.batch_size!r}."
        )
    if growth.get("first_batch_size"):
        with sections.naming("batch_schedule", growth, {"batch_size": "first_batch_size"}):
            plan.with_batch_size(growth.first_batch_size)
    if growth.name == "adaptive" and schedule.name == "two_phase":
        raise ValueError(
            "config.schedule.name='two_phase' does not go with config.batch_schedule.name='adaptive': both measure "
            "an eigenvalue, and metrics.csv has one column for it."
        )


def _check_signal(config: ml_collections.ConfigDict) -> None:
    """Raises where the samples on which signal and noise are measured do not suffice."""
    section = config.signal_to_noise
    wanted = section.batches * (section.batch_size or config.batch_size)
    if section.every and section.samples < wanted:
        raise ValueError(
            f"config.signal_to_noise.samples={section.samples} must be at least {wanted}, for batches="
            f"{section.batches} of batch_size={section.batch_size or config.batch_size}."
        )


def _check_ghosts(size: int | None, plan: BatchPlan) -> None:
    """Raises where neither a sub-batch nor those of several ranks are a whole ghost: there would be smaller ones."""
    if size is None:
        return
    checks.whole("config.model.ghost_batch_size", size, at_least=1)
    computed = plan.samples_a_rank_computes
    if size > computed and plan.ranks > 1:
        with sections.naming(
            "", {"model.ghost_batch_size": size}, {"ghost_batch_size": "model.ghost_batch_size"}
        ):
            ranks_of_ghost(size, computed, plan.ranks)
    elif size > computed:
        raise ValueError(
            f"config.model.ghost_batch_size={size} is more than the {computed} samples that a rank computes at a time, "
            f"so that no ghost would have {size}: use at most {computed}, a config.sub_batch_size (or a larger "
            f"share of config.batch_size={plan.batch_size}) that is a multiple of {size}, or more ranks."
        )
