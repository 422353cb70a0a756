"""What a recipe in `hparams/` may say: its keys with their defaults, and how its file is read."""

from __future__ import annotations

import difflib
import functools
import logging
import os
from pathlib import Path
from typing import Any

import ml_collections
from ml_collections import config_dict

from tflbt import checks
from tflbt.distributed.errors import one_line
from tflbt.recipes import parts, sections, stored
from tflbt.recipes.user_file import named, read_function, running

# The rows of the two-phase paper's tables 2 to 5, which every file in hparams/ has as variants.
TABLE_ROWS = ("small_batch", "large_batch", "lars", "two_phase", "two_phase_lars")

# What may stand for a key's type besides it, and that type in words.
_ALSO = {float: (float, int), tuple: (tuple, list)}
_IN_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    tuple: "a list",
}


class Config(sections.Keys):
    """A recipe's configuration: a dictionary that is assigned to a section gets the keys of the class it names."""

    def __setitem__(self, key: str, value: Any) -> None:
        """Sets a value or a section."""
        if key in parts.KINDS and sections.is_plain(value):
            value = sections.complete(key, value)
            if self.is_locked:
                value.lock()
        super().__setitem__(key, value)


def default_config() -> Config:
    """Every key that a recipe may set, with its default; a key that is not here is an error.

    Each section is a name and the arguments of the class of that name (`tflbt.recipes.section`). Assigning another
    name, as `config.schedule.name = "cosine"`, brings the keys of that class with their defaults:

    - `model`: of `tflbt.models`. `ghost_batch_size` is the number of samples that batch normalisation normalises
      together, whatever the sub-batch: best a divisor of the samples that a rank computes at a time, or those that
      several ranks compute at a time. None: the whole sub-batch.
    - `optimizer`: of `tflbt.optimizers`, else of `tf.keras.optimizers`; "tfa.NAME" is TensorFlow Addons'.
      `global_clipnorm` is the largest norm of an update's whole gradient, which is clipped to it once, after the sum
      over sub-batches and ranks. None: not clipped. `LayerWise` has a section `inner` for the optimizer inside it.
    - `schedule`, of the learning rate: constant, step, two_phase, polynomial, cosine, cyclical. The last three begin
      where the warm-up ends (`after_warmup`), and the first two of them end with the training, or at epoch `until`.
      two_phase looks for its plateau from there on (`after_warmup` too), and measures the curvature on the first
      `curvature_samples` of the training set; None: `batch_size` of them, one large mini-batch.
    - `batch_schedule`: constant, grow (GG), adaptive (ABS), first_epochs.
    - `warmup`, off with 0 `epochs`; `stability` and `curvature` (eigenvalues of `blocks`: output, last_2, all), off
      with `every` 0 epochs; `adversarial` and `small_loss`, off with `share` 0; `batch_augmentation`, off with 1 of
      `instances` (`batch_size` counts them); `checkpoint`, also inside epochs and before the end that a signal
      announces; `elastic`, off with 1 of `max_ranks`: the ranks grow with the batch, if a launcher starts the job
      again (docs/elastic.md).
    - noise in every update, whose draws follow `seed`: `activation_noise`, `gradient_noise`, `weight_noise` and
      `target_noise`, off with `std` 0; `label_noise`, off with `probability` 0.
    - measures of every update, off with `measure` False: `noise_scale`, `gradient_norm`, `strides`,
      `augmentation_scale` (and `apply`, which scales the update).
    - measures at the ends of epochs, off with `every` 0: `margin`, `signal_to_noise`.
    - measures at some updates, off with `measure` False: `distance`.

    Returns:
        A locked `ConfigDict`.

    Example:
        >>> config = default_config()
        >>> config.schedule.name = "two_phase"
        >>> config.schedule.beta
        0.5
    """
    config = Config()
    config.name = ""  # of the recipe and variant, for the report
    config.seed = 0  # of the initial weights, the order of samples, augmentation, dropout
    config.deterministic = True  # same seed, same ranks: same run, bit for bit
    config.precision = "float32"  # or mixed_bfloat16, mixed_float16
    config.jit_compile = False  # XLA for the computation of a sub-batch
    config.epochs = 1
    config.batch_size = 128  # samples per update, over all ranks
    # Samples that fill no batch: an update of their own; or carry (into the next epoch), or drop.
    config.tail = "update"
    config.sub_batch_size = config_dict.placeholder(int)  # samples in memory; None: a rank's share
    # Seconds in which no rank works, or one does not answer, that end a job of several ranks; 0: never.
    config.stall_limit = 45.0
    config.data = sections.Keys(
        {
            "name": "digits",  # see tflbt.data.load
            "image_size": config_dict.placeholder(int),  # imagenet: pixels per side; None: 224
            # The share of an image that random crops show, as (0.08, 1.0); (): whole images, imagenet's as here
            "crop_area": (),
            "crop_draw": "op",  # the windows of crop_area: TensorFlow's; or area: torchvision's, areas uniform
            "resize_then_crop": False,  # imagenet: crops of a resized image, in place of those of crop_area
            "brightness": 0.0,  # colours: largest change, of 1
            "hue": 0.0,  # of a turn of the colour circle
            "saturation": 0.0,  # factor 1 - s to 1 + s
            "contrast": 0.0,  # likewise
            "standardize": "per_pixel",  # or per_channel, divide_255, imagenet (goes with image files)
            "padding": 0,  # pixels for random crops; 0: none
            "pad_with": "mean",  # what is padded: 0 after standardisation; or black, before it (equal for divide_255)
            "flip": False,  # mirror half of the images
            "cutout_size": 0,  # pixels per side of the squares that are cut out; 0: none
            "cutout_count": 1,
            "holdout": 0,  # training samples, spread evenly, to evaluate on in place of the test set, for tuning
        }
    )
    # Share of the targets spread over all classes, 0 <= s < 1; val_loss is then the smoothed loss too.
    config.label_smoothing = 0.0
    # Of accuracy, top_5 (accuracy of the five largest logits) and perplexity.
    config.metrics = ("accuracy",)
    # Which end of other columns is best, for reports and searches, such as ("margin_mean:max",).
    config.directions = ()
    config.model = sections.section("model", "digits_resnet")
    config.optimizer = sections.section("optimizer", "SGD", learning_rate=0.1)
    for kind in ("schedule", "batch_schedule"):
        config[kind] = sections.section(kind, "constant")
    for kind, names in parts.SECTIONS.items():
        if "" in names:
            config[kind] = sections.section(kind)
    return config.lock()


@checks.arguments
def start(
    file: str, variant: str, variants: tuple[str, ...] = TABLE_ROWS
) -> ml_collections.ConfigDict:
    """The defaults, named for a recipe's file and variant: how `get_config` begins.

    Args:
        file: The recipe's `__file__`.
        variant: The variant to load.
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


@checks.arguments
def lars(
    learning_rate: float, weight_decay: float, trust_coefficient: float = 0.01, **values: Any
) -> sections.Section:
    """The optimizer section of LARS as the papers use it: biases and normalisation neither decay nor are adapted.

    Args:
        learning_rate: The full learning rate.
        weight_decay: Of all other variables.
        trust_coefficient: Default 0.01.
        **values: More keys of `tflbt.optimizers.LARS`, or other values of them.

    Example:
        >>> lars(1.0, 5e-4).exclude_from_adaptation
        ('bias', 'norm')
    """
    checks.number("learning_rate", learning_rate, at_least=0)
    checks.number("weight_decay", weight_decay, at_least=0)
    checks.number("trust_coefficient", trust_coefficient, more_than=0)
    free = ("bias", "norm")
    excluded = {"exclude_from_weight_decay": free, "exclude_from_adaptation": free}
    options = {"momentum": 0.9, "trust_coefficient": trust_coefficient, **excluded, **values}
    return sections.section(
        "optimizer", "LARS", learning_rate=learning_rate, weight_decay=weight_decay, **options
    )


@checks.arguments
def load(recipe: str | os.PathLike[str]) -> ml_collections.ConfigDict:
    """Reads a recipe as `--config` names it.

    Args:
        recipe: "FILE.py:VARIANT", or "FILE.py" for the file's default variant, text or a path: the file is run, as any
            Python file that you start. "FILE.json" is read as data: `best.json` of a search, `config.json` of a run.

    Returns:
        What the file's `get_config` returns, or the JSON file says, locked.

    Raises:
        ValueError: If the file is no recipe, has no such variant, or sets a key that there is not.
        OSError: If the file cannot be read.

    Example:
        >>> load("hparams/nothing.py:lars")
        Traceback (most recent call last):
        ...
        FileNotFoundError: ... the recipe cannot be read: 'hparams/nothing.py'
    """
    recipe = os.fspath(recipe)
    file, variant = named(recipe)
    if file.endswith(".json"):
        if variant:
            raise ValueError(f"{file} has no variant {variant[0]!r}: it is one configuration.")
        return stored.load(file, default_config())
    get_config = read_function(file, "get_config", "recipe")
    with running(file):
        config = get_config(*variant)
        if isinstance(config, ml_collections.FrozenConfigDict) or not isinstance(
            config, ml_collections.ConfigDict
        ):
            raise ValueError(
                f"get_config must return a ConfigDict, as recipes.start does, not of type {type(config).__name__}."
            )
        check_keys(config)
    config.lock()
    for kind in parts.KINDS:
        unused = getattr(config.get(kind), "_waiting", {})
        for key, value in unused.items():
            logging.warning(
                f"{recipe}: config.{kind}.{key}={value!r} is not used, for config.{kind}.name={config[kind].name!r} "
                "has no such key; leave it out"
            )
        unused.clear()
    return config


@checks.arguments
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
    here, path = config, "config"
    for part in key.split("."):
        if not isinstance(here, ml_collections.ConfigDict):
            raise ValueError(f"config.{key} is no key of this recipe: {path} is a value.")
        if part not in here:
            raise ValueError(
                f"config.{key} is no key of this recipe: {path} has {', '.join(sorted(here))}."
            )
        here, path = here[part], f"{path}.{part}"


def check_keys(config: ml_collections.ConfigDict) -> None:
    """Raises ValueError for keys that a recipe file has invented, left out, or given a value of another type."""
    known = _known()
    _check_level("config", config, known)
    _check_level("config.data", config.data, known.data)


def _check_level(path: str, found: ml_collections.ConfigDict, known: Config) -> None:
    """Checks the keys of one dictionary, and the types of its values."""
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(str(key), list(known), 1, 0.75)
            meant = f"did you mean {path}.{near[0]}? " if near else ""
            value = _value(path, found, key)
            section = isinstance(value, ml_collections.ConfigDict)
            shown = "" if section else f"={checks.shown(value)}"
            raise ValueError(
                f"{path}.{key}{shown} is no key of a recipe: "
                f"{meant}{path} has {', '.join(sorted(known))}."
            )
    for key in known:
        if key not in found:
            raise ValueError(f"{path}.{key} is missing: a recipe begins with recipes.start.")
        value = _value(path, found, key)
        kind = known.get_type(key)
        is_section = issubclass(kind, ml_collections.ConfigDict)
        kinds = (ml_collections.ConfigDict,) if is_section else _ALSO.get(kind, (kind,))
        if value is None and known[key] is None:
            continue
        if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(
                f"{path}.{key}={checks.shown(value)} must be {_IN_WORDS.get(kind, 'a section')}."
            )


def _value(path: str, found: ml_collections.ConfigDict, key: str) -> Any:
    """The value of a key, which may be computed by a reference to another key."""
    try:
        return found[key]
    except Exception as error:
        raise ValueError(f"{path}.{key} cannot be computed: {one_line(error)}") from error


@functools.cache
def _known() -> Config:
    """Every key of a recipe."""
    return default_config()
