"""What a recipe's sections can name: a table of classes, and which keys each of them has."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import config_dict

from tflbt import callbacks, models, schedules
from tflbt.data import BatchAugmentation
from tflbt.recipes import optimizers
from tflbt.training import (
    FGSM,
    ActivationNoise,
    AugmentationScale,
    GradientNoise,
    GradientNorm,
    LabelNoise,
    NoiseScale,
    SmallLossDiscarding,
    Strides,
    TargetNoise,
    WeightNoise,
)

# Arguments that the recipe supplies when it builds, so that they are no keys.
SUPPLIED = {"begin", "callbacks", "classes", "curvature_data", "directory", "input_shape", "seed"}
SUPPLIED |= {"gradient_data", "margin_data", "standardize", "sub_batch_size", "table"}
# Keys that switch a section off, the value that does, and one that does not.
SWITCHES: dict[str, tuple[str, Any, Any]] = {
    "warmup": ("epochs", 0, 1.0),
    "stability": ("every", 0, 1),
    "curvature": ("every", 0, 1),
    "margin": ("every", 0, 1),
    "signal_to_noise": ("every", 0, 1),
    "adversarial": ("share", 0, 0.2),
    "batch_augmentation": ("instances", 1, 2),
    "small_loss": ("share", 0, 0.3),
    "activation_noise": ("std", 0, 1e-3),
    "gradient_noise": ("std", 0, 1e-3),
    "weight_noise": ("std", 0, 1e-3),
    "label_noise": ("probability", 0, 0.1),
    "target_noise": ("std", 0, 0.1),
    "elastic": ("max_ranks", 1, 2**20),
    **{
        kind: ("measure", False, True)
        for kind in ("noise_scale", "gradient_norm", "strides", "augmentation_scale", "distance")
    },
}
# What does nothing while a switch is off, as `tflbt.tuning.space.check` takes it.
USED_WITH: dict[str, tuple[str, Any]] = {
    **{kind: (f"{kind}.{key}", off) for kind, (key, off, _) in SWITCHES.items()},
    "batch_schedule.omega": ("adversarial.share", 0),
    "batch_schedule.tau": ("adversarial.share", 0),
    "data.cutout_count": ("data.cutout_size", 0),
    "data.pad_with": ("data.padding", 0),
}


@dataclasses.dataclass(frozen=True)
class Part:
    """A class that a section can name, and how the section's keys differ from its constructor's arguments.

    Attributes:
        cls: The class, or a function that builds; its signature lists the keys. None: there is nothing to build.
        defaults: Where a recipe's default differs from the constructor's.
        own: Keys that the recipe itself reads, with their defaults; None: a whole number that may be left out.
        renamed: Keys that have another name than the argument.
        wrap: What the built object is put into.
    """

    cls: Callable[..., Any] | None = None
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    own: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    wrap: Callable[[Any], Any] | None = None


def _curve(cls: type[schedules.Curve], **defaults: Any) -> Part:
    """A decay that begins where the warm-up ends, and ends with the training unless `until` says when."""
    own = {"after_warmup": True}
    return Part(cls, {"epochs": None, **defaults}, own, {"epochs": "until"}, callbacks.RateCurve)


def _fgsm(share: float = 0.2, epsilon: float = 0.005, standardize: Any = None) -> FGSM:
    """FGSM of images that were standardised."""
    if standardize is None:
        return FGSM(share, epsilon)
    return FGSM.of_images(standardize, share, epsilon)


def _curvature(
    curvature_data: Any = None,
    every: int = 1,
    blocks: tuple[str, ...] = ("output",),
    iterations: int = 20,
    tolerance: float | None = 0.05,
    seed: int = 0,
) -> callbacks.CurvatureMonitor:
    """A monitor of the eigenvalues of largest size."""
    options = {"iterations": iterations, "tolerance": tolerance, "seed": seed}
    return callbacks.CurvatureMonitor(curvature_data, every, blocks=blocks, **options)


# What a section can name; a kind of section with one class has no name.
SECTIONS: dict[str, dict[str, Part]] = {
    "warmup": {"": Part(callbacks.Warmup, {"epochs": 0.0})},
    "schedule": {
        "constant": Part(),
        "step": Part(callbacks.StepDecay, {"epochs": ()}),
        "two_phase": Part(
            callbacks.TwoPhaseSchedule,
            # For the figure; the schedule needs it from the switch on.
            {"measure_exploration": True},
            # The first of the training set; None: `batch_size`, "one large mini-batch". The loss of a warm-up is no
            # sign of a plateau.
            {"curvature_samples": None, "after_warmup": True},
        ),
        "polynomial": _curve(schedules.PolynomialDecay),
        "cosine": _curve(schedules.CosineDecay),
        "cyclical": _curve(schedules.Cyclical, length=10.0),
    },
    "batch_schedule": {
        "constant": Part(),
        "grow": Part(callbacks.GrowBatchSize, {"epochs": ()}),
        "adaptive": Part(callbacks.AdaptiveBatchSize, own={"curvature_samples": 128}),
        "first_epochs": Part(
            callbacks.FirstEpochsBatch,
            renamed={key: f"first_{key}" for key in ("batch_size", "learning_rate", "epochs")},
        ),
    },
    "stability": {"": Part(callbacks.StabilityMonitor, {"every": 0, "batch_size": 128})},
    # On the first `samples` of the training set; None: `batch_size`, one large mini-batch.
    "curvature": {"": Part(_curvature, {"every": 0}, {"samples": None})},
    "margin": {
        "": Part(
            callbacks.MarginMonitor,
            {"every": 0},
            {"samples": 10_000},  # the first of the training set, of which the paper takes all
        )
    },
    "signal_to_noise": {
        # Of the recipe's own batch size; the first samples of the training set, of which all would be exact.
        "": Part(callbacks.SignalToNoise, {"every": 0, "batch_size": None}, {"samples": 10_000})
    },
    "distance": {"": Part(callbacks.DistanceMonitor, own={"measure": False})},
    "batch_augmentation": {"": Part(BatchAugmentation)},
    "small_loss": {"": Part(SmallLossDiscarding, {"share": 0.0, "epochs": None})},
    "adversarial": {"": Part(_fgsm, {"share": 0.0})},
    "activation_noise": {"": Part(ActivationNoise)},
    "gradient_noise": {"": Part(GradientNoise)},
    "weight_noise": {"": Part(WeightNoise)},
    "label_noise": {"": Part(LabelNoise)},
    "target_noise": {"": Part(TargetNoise)},
    "noise_scale": {"": Part(NoiseScale, own={"measure": False})},
    "augmentation_scale": {"": Part(AugmentationScale, own={"measure": False})},
    "gradient_norm": {"": Part(GradientNorm, own={"measure": False})},
    "strides": {"": Part(Strides, own={"measure": False})},
    "checkpoint": {"": Part(callbacks.Checkpoint, {"preemption": True})},
    "elastic": {"": Part(callbacks.ElasticRanks, {"max_ranks": 1})},
}
# The sections that are rules of an update, in the order in which they act.
RULES = (
    *("adversarial", "small_loss", "batch_augmentation", "augmentation_scale"),
    *("activation_noise", "gradient_noise", "weight_noise", "label_noise", "target_noise"),
    *("noise_scale", "gradient_norm", "strides"),
)
# What the words of an annotation stand for, the first that is found.
_TYPES = {"Sequence|tuple": tuple, "bool": bool, "int": int, "[fF]loat": float, "str": str}
# What arguments of Keras, which have no annotation, take whose default is None; all others take a float.
_UNTYPED = {"ema_overwrite_frequency": "int", "ghost_batch_size": "int", "weights": "str"}
# These name one of many classes, found by name; what a recipe has set stays where the new class has that key too.
BY_NAME = ("model", "optimizer", "inner")
KINDS = ("model", "optimizer", *SECTIONS)


def find(kind: str, name: Any) -> Part | None:
    """The class of a name; None if there is none."""
    if kind in ("optimizer", "inner"):
        cls = optimizers.find(name)
        own = {"learning_rate": 0.01} if cls is optimizers.LayerWise and kind == "optimizer" else {}
        return None if cls is None else Part(cls, own=own)
    if kind == "model":
        try:
            return Part(models.network(str(name)))
        except ValueError:
            return None
    return SECTIONS[kind].get(name)


def names(kind: str) -> list[str]:
    """The names that a section of a kind can have."""
    if kind in ("optimizer", "inner"):
        return ["SGD", "Adam", *optimizers.NAMES]
    return list(models.MODELS if kind == "model" else SECTIONS[kind])


def no_such(kind: str, name: Any) -> str:
    """What is said of a name that there is not."""
    if kind in ("optimizer", "inner"):
        return optimizers.no_such(name)
    more = ", or Keras's, as keras.applications.ResNet50" if kind == "model" else ""
    return f"must be one of {', '.join(names(kind))}{more}."


def elsewhere(kind: str) -> set[str]:
    """The keys that some class of a kind has, where the classes are few."""
    if kind in BY_NAME:
        return set()
    return {key for part in SECTIONS[kind].values() for key in default_keys(kind, part)}


def default_keys(kind: str, part: Part) -> dict[str, Any]:
    """The keys of a class with their defaults; a placeholder where the default is None."""
    keys: dict[str, Any] = {}
    supplied = SUPPLIED | ({"learning_rate"} if kind == "inner" else set())
    parameters = {} if part.cls is None else optimizers.parameters(part.cls)
    for word, parameter in parameters.items():
        if word not in supplied:
            default = part.defaults.get(word, parameter.default)
            keys[part.renamed.get(word, word)] = _settable(word, default, parameter.annotation)
    if "inner" in keys:
        keys["inner"] = {}
    return {**keys, **{word: _settable(word, value, "int") for word, value in part.own.items()}}


def _settable(name: str, default: Any, annotation: Any) -> Any:
    """A default that keeps its type when a recipe or the command line sets the key."""
    if isinstance(default, (bool, int, float, str, tuple)):
        return default
    text = _UNTYPED.get(name, "float") if annotation is inspect.Parameter.empty else str(annotation)
    found = (kind for words, kind in _TYPES.items() if re.search(rf"\b({words})", text))
    return config_dict.placeholder(next(found, object))


def plain(default: Any) -> Any:
    """A default without its placeholder."""
    return default.get() if isinstance(default, config_dict.FieldReference) else default
