"""What a recipe says about samples: the data set loaded, standardised and augmented."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf

from tflbt import checks, data
from tflbt.data.transforms.random_resized_crop import AREA
from tflbt.data.transforms.standardize import MODES
from tflbt.distributed import comm
from tflbt.recipes import sections
from tflbt.recipes.batch import first_plan

PADS = ("mean", "black")


@dataclasses.dataclass(frozen=True)
class Samples:
    """Training and held-out samples as `fit` takes them.

    Attributes:
        source: The data set as loaded, with `classes` and `image_shape`.
        standardize: What inputs go through; None where they are no images.
        transform: What training sub-batches go through: reading, colours, standardisation, augmentation.
        test: Held-out inputs, standardised, and labels; of stored images a data set of this rank's share.
    """

    source: Any
    standardize: data.Standardize | None
    transform: Any
    test: tuple[np.ndarray, np.ndarray] | tf.data.Dataset

    @property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """Training inputs (or their names) and labels, as loaded."""
        return self.source.x_train, self.source.y_train

    def first(self, count: int, rank: int = 0, size: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Every size-th of the first training samples, from that of the rank's number on, as evaluation sees them.

        They may have to be read from files.
        """
        x, y = self.source.some_training_images(count, rank, size)
        return (x if self.standardize is None else self.standardize(x).numpy()), y


def build_samples(
    config: ml_collections.ConfigDict, data_dir: str | Path | None = None, source: Any = None
) -> Samples:
    """Loads the data set of a recipe from `data_dir`, or takes `source`, and says what its samples go through."""
    options = config.data
    if source is None:
        # Crops of other data sets are a transform; these are made while reading.
        crop_area = options.crop_area if options.name == "imagenet" else ()
        source = data.load(options.name, data_dir, options.image_size, crop_area or None)
        if isinstance(source, data.StoredImages):
            source = dataclasses.replace(source, crop_draw=options.crop_draw)
    if options.holdout:
        source = data.with_holdout(source, options.holdout)
    if isinstance(source, data.TextData):
        return Samples(source, None, None, (source.x_test, source.y_test))
    standardize = data.fit_standardize(source.x_train, options.standardize)
    # Reading or cropping, colours (in grey levels), standardisation, shifts and flips, squares cut out. Zeros that are
    # padded before the standardisation are black.
    crops, colours, shifts, cutout = _transforms(options)
    if isinstance(source, data.StoredImages):
        crops = [source.resized_random_crops if options.resize_then_crop else source.random_crops]
    pixels = [*shifts, standardize] if options.pad_with == "black" else [standardize, *shifts]
    steps = [*crops, *colours, *pixels, *cutout]
    transform = data.chain(*steps) if len(steps) > 1 else standardize
    return Samples(source, standardize, transform, _test(config, source, standardize))


def check_data(config: ml_collections.ConfigDict) -> None:
    """Raises ValueError for values of `config.data` that cannot be, naming the key, its value and what would do."""
    options = config.data
    checks.whole("config.data.holdout", options.holdout, at_least=0)
    checks.one_of("config.data.standardize", options.standardize, MODES)
    checks.one_of("config.data.pad_with", options.pad_with, PADS)
    if options.resize_then_crop and (options.crop_area or options.name != "imagenet"):
        raise ValueError(
            f"config.data.resize_then_crop=True is for imagenet without crop_area, not for {options.name} "
            f"with {options.crop_area!r}."
        )
    _transforms(options)


def _transforms(options: ml_collections.ConfigDict) -> list[list[Any]]:
    """Crops, colours, shifts and cutouts, each a list of one transform or none; errors name the key."""
    amounts = {key: options[key] for key in ("brightness", "contrast", "saturation", "hue")}
    crop_area = tuple(options.crop_area)
    renamed = {"area": "crop_area", "draw": "crop_draw", "size": "cutout_size"}
    renamed["count"] = "cutout_count"
    with sections.naming("data", options, renamed):
        if len(crop_area) not in (0, 2):
            raise ValueError(
                f"area={options.crop_area!r} must be two shares, as (0.08, 1.0), or () for none."
            )
        crop = data.RandomResizedCrop(area=crop_area or AREA, draw=options.crop_draw)
        crops = [crop] if crop_area else []
        colours = [data.ColourJitter(**amounts)] if any(amounts.values()) else []
        moved = options.padding or options.flip
        shifts = [data.PadCropFlip(options.padding, options.flip)] if moved else []
        squares = options.cutout_size, options.cutout_count
        cutout = [data.Cutout(*squares)] if options.cutout_size else []
    return [crops, colours, shifts, cutout]


def _test(
    config: ml_collections.ConfigDict, source: Any, standardize: Any
) -> tuple[np.ndarray, np.ndarray] | tf.data.Dataset:
    if isinstance(source, data.ImageData):
        return standardize(source.x_test).numpy(), source.y_test
    return data.one_epoch(
        (source.x_test, source.y_test),
        sub_batch_size=first_plan(config).samples_a_rank_computes,
        rank=comm.rank(),
        size=comm.size(),
        transform=data.chain(source.centre_crops, standardize),
    )
