"""What a recipe in `hparams/` may say: its keys with their defaults, and how its file is read."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_collections
from ml_collections import config_dict

# The rows of the two-phase paper's tables 2 to 5, which every file in hparams/ has as variants.
TABLE_ROWS = ("small_batch", "large_batch", "lars", "two_phase", "two_phase_lars")


def default_config() -> ml_collections.ConfigDict:
    """Every key that a recipe may set, with its default; a key that is not here is an error.

    `model` and `optimizer` hold a name and the arguments of that model (`tflbt.models`) or optimizer
    (`tflbt.optimizers`, else `tf.keras.optimizers`): a recipe lists those it sets or wants to be settable. Among them:

    - `model.ghost_batch_size`: samples that batch normalisation normalises together, whatever the sub-batch; at
      most, and best a divisor of, the samples a rank computes at a time. None: the whole sub-batch.
    - `optimizer.global_clipnorm`: largest norm of an update's whole gradient, which is clipped to it once, after the
      sum over sub-batches and ranks. None: not clipped.

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
            "name": "digits",  # see tflbt.data.load
            "image_size": config_dict.placeholder(int),  # imagenet: pixels a side; None: 224
            # What share of an image random crops show, as (0.08, 1.0); (): images are whole, imagenet's as here
            "crop_area": (),
            "resize_then_crop": False,  # imagenet: crops of a resized image, in place of those of crop_area
            "brightness": 0.0,  # colours: largest change, of 1
            "hue": 0.0,  # of a turn of the colour circle
            "saturation": 0.0,  # factor 1 - s to 1 + s
            "contrast": 0.0,  # likewise
            "standardize": "per_pixel",  # or per_channel, divide_255, imagenet (goes with image files)
            "padding": 0,  # pixels for random crops; 0: none
            "flip": False,  # mirror half of the images
            "cutout_size": 0,  # pixels a side of the squares that are cut out; 0: none
            "cutout_count": 1,
            "holdout": 0,  # training samples, spread evenly, to evaluate on in place of the test set, for tuning
        }
    )
    # Share of the targets spread over all classes, 0 <= s < 1; val_loss is then the smoothed loss too.
    config.label_smoothing = 0.0
    config.model = ml_collections.ConfigDict({"name": "digits_resnet"})
    config.optimizer = ml_collections.ConfigDict({"name": "SGD", "learning_rate": 0.1})
    config.warmup = ml_collections.ConfigDict(
        {
            "epochs": 0.0,  # 0: none
            "initial_factor": 0.0,  # of the full rate
            "shape": "linear",  # or cosine
        }
    )
    config.schedule = ml_collections.ConfigDict(
        {
            "name": "constant",  # step, two_phase, polynomial, cosine, cyclical
            "epochs": (),  # step: decay after these epochs
            "factor": 0.1,  # step: by this factor
            "after_warmup": True,  # polynomial, cosine, cyclical: begin where it ends; False: at epoch 0
            "end_factor": 0.0,  # polynomial, cosine: of the full rate, at the end
            "until": config_dict.placeholder(
                float
            ),  # polynomial, cosine: epoch of the end; None: the training's
            "power": 2.0,  # polynomial
            "grain": "update",  # cosine: a new rate every update, or every epoch
            "length": 10.0,  # cyclical: epochs of a cycle, down and up
            "lowest_factor": 0.1,  # cyclical: of the full rate
            "shape": "triangular",  # cyclical: or cosine
            "beta": 0.5,  # two_phase: decay factor
            "patience": config_dict.placeholder(int),  # two_phase: None: 5% of the epochs
            "extra_fraction": 1 / 3,  # two_phase: extra epochs over those up to the plateau
            "min_delta": 0.0,
            "min_learning_rate": 0.0,
            "measure_exploration": True,  # for the figure; the schedule needs it from the switch on
            "iterations": 10,  # power iterations an estimate
            "method": "finite_difference",  # or exact
            "curvature_samples": 1024,  # the first of the training set; more cost more, see the README
        }
    )
    config.batch_schedule = ml_collections.ConfigDict(
        {
            "name": "constant",  # grow (GG), adaptive (ABS), first_epochs
            "first_batch_size": config_dict.placeholder(int),  # first_epochs: samples an update
            "first_learning_rate": config_dict.placeholder(float),  # first_epochs; None: scaled
            "first_epochs": 1,  # first_epochs: how many
            "max_batch_size": config_dict.placeholder(int),  # grow, adaptive: the largest
            "epochs": (),  # grow: after these epochs
            "factor": 5.0,  # grow: by this factor
            "alpha": 2.0,  # adaptive: eigenvalue decay ratio
            "beta": 2.0,  # adaptive: by how much batch and learning rate grow
            "kappa": 10,  # adaptive: measurements without growth after which they grow all the same
            "omega": 2.0,  # adaptive: by how much the adversarial share falls at each growth
            "tau": config_dict.placeholder(
                int
            ),  # adaptive: epochs with adversarial samples; None: half of all
            "measure_every": config_dict.placeholder(
                int
            ),  # adaptive: samples; None: after each epoch
            "reference": "initialization",  # or first_epoch
            "layers": "all",  # whose Hessian; or last_2, output, a layer's name
            "method": "exact",  # or finite_difference with layers output
            "iterations": 20,  # the most products of a measurement
            "tolerance": 0.05,  # relative residual that ends it earlier
            "curvature_samples": 128,  # the first of the training set
        }
    )
    # The largest eigenvalue of several mini-batches against 2 / learning rate; see tflbt.callbacks.StabilityMonitor.
    config.stability = ml_collections.ConfigDict(
        {
            "every": 0,  # epochs; 0: never
            "batches": 4,
            "batch_size": 128,  # samples of a mini-batch, the first of the training set
            "layers": "all",
            "iterations": 20,
            "tolerance": 0.02,
        }
    )
    # M instances of each sample; batch_size counts them.
    config.batch_augmentation = ml_collections.ConfigDict(
        {
            "instances": 1,
            "placement": "sub_batch",  # side by side; or rank, ranks: in different sub-batches
        }
    )
    config.small_loss = ml_collections.ConfigDict(
        {
            "share": 0.0,  # of the samples of an update, those with the smallest losses, to discard
            "epochs": config_dict.placeholder(int),  # for the first epochs only; None: all
            "scope": "sub_batch",  # what is compared; or the whole update
        }
    )
    # Share of FGSM samples at the start, and their size with pixels in [0, 1].
    config.adversarial = ml_collections.ConfigDict({"share": 0.0, "epsilon": 0.005})
    config.checkpoint = ml_collections.ConfigDict({"every": 1, "keep": 2})
    return config.lock()


def start(
    file: str, variant: str, variants: tuple[str, ...] = TABLE_ROWS
) -> ml_collections.ConfigDict:
    """The defaults, named for a recipe's file and variant: how `get_config` begins.

    Args:
        file: The recipe's `__file__`.
        variant: The variant that was asked for.
        variants: Those that there are; default: the rows of the two-phase paper's tables.

    Returns:
        `default_config()` with `name` set, such as "digits_resnet:two_phase".

    Raises:
        ValueError: If there is no such variant.

    Example:
        >>> start("hparams/digits_resnet.py", "lars").name
        'digits_resnet:lars'
    """
    if variant not in variants:
        raise ValueError(f"{file} has no variant {variant!r}: use one of {', '.join(variants)}.")
    config = default_config()
    config.name = f"{Path(file).stem}:{variant}"
    return config


def load(recipe: str) -> ml_collections.ConfigDict:
    """Reads a recipe as `--config` names it.

    Args:
        recipe: "FILE.py:VARIANT", or "FILE.py" for the file's default variant.

    Returns:
        What the file's `get_config` returns, locked.

    Raises:
        ValueError: If the file is no recipe, or has no such variant.
        OSError: If the file cannot be read.

    Example:
        >>> load("hparams/nothing.py:lars")
        Traceback (most recent call last):
        ...
        FileNotFoundError: ... the recipe cannot be read: 'hparams/nothing.py'
    """
    file, colon, variant = recipe.partition(":")
    get_config = read_function(file, "get_config", "recipe")
    return get_config(*([variant] if colon else [])).lock()


def read_function(file: str, name: str, what: str) -> Callable[..., Any]:
    """A function of a Python file that a flag names.

    Args:
        file: The file's path.
        name: The function's.
        what: What the file should be, for messages: "recipe" or "space".

    Returns:
        The function.

    Raises:
        ValueError: If it is no Python file, raises anything, or has no such function; names the file.
        OSError: If the file cannot be read.
    """
    try:
        Path(file).read_bytes()
    except OSError as error:
        raise type(error)(error.errno, f"the {what} cannot be read", file) from error
    spec = importlib.util.spec_from_file_location(f"tflbt_{what}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is no {what}: it must be a Python file whose name ends in .py.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{file}: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{file} is no {what}: it has no function {name}.")
    return function


def require_key(config: ml_collections.ConfigDict, key: str) -> None:
    """Raises unless a recipe has a key, so that a slip of the pen is no new value.

    Args:
        config: The recipe's configuration.
        key: A dotted key, such as "schedule.beta".

    Raises:
        ValueError: If there is none; the message lists those that there are at that place.

    Example:
        >>> require_key(default_config(), "data.colour")
        Traceback (most recent call last):
        ...
        ValueError: config.data.colour is no key of this recipe: config.data has brightness, contrast, ...
    """
    here: Any = config
    path = "config"
    for part in key.split("."):
        if not isinstance(here, ml_collections.ConfigDict):
            raise ValueError(f"config.{key} is no key of this recipe: {path} is a value.")
        if part not in here:
            raise ValueError(
                f"config.{key} is no key of this recipe: {path} has {', '.join(sorted(here))}."
            )
        here, path = here[part], f"{path}.{part}"
