"""A recipe on folders of JPEG files trains as one on arrays does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tflbt import recipes
from tflbt.callbacks.curvature_probe import load_data
from tflbt.data import ImageFolder, fit_standardize, load
from tflbt.recipes import build

RECIPE = Path(__file__).resolve().parents[2] / "hparams" / "imagenet_resnet50.py"


@pytest.fixture
def root(tmp_path):
    """Two classes of dark and light images, 5 and 4 to train on and 2 and 3 to validate."""
    rng = np.random.default_rng(0)
    for split, counts in (("train", (5, 4)), ("val", (2, 3))):
        for label, count in enumerate(counts):
            folder = tmp_path / "imagenet" / split / f"n0{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                shape = (*rng.integers(20, 60, 2), 3)
                image = rng.integers(128 * label, 128 * (label + 1), shape).astype(np.uint8)
                path = folder / f"{number}.JPEG"
                path.write_bytes(tf.io.encode_jpeg(image).numpy())
    return tmp_path


def small_config(**values):
    config = recipes.load(f"{RECIPE}:optimization_4")
    with config.unlocked():
        config.model.update({"blocks": (1,), "widths": (4,)})
    config.update_from_flattened_dict(
        {"epochs": 2, "batch_size": 4, "sub_batch_size": 2, "data.image_size": 16}
    )
    config.update_from_flattened_dict({"warmup.epochs": 1.0, **values})
    return config


def test_the_recipe_trains_and_validates_on_files(root):
    made = build.build(small_config(), root)
    history = made.fit([])
    assert int(made.model.optimizer.iterations) == 5  # of 4 of the 18 samples, the last of 2
    assert made.model.samples_seen == 2 * 9
    assert made.model.output_shape == (None, 2)

    images = load("imagenet", root, 16)
    assert isinstance(images, ImageFolder)
    crops = images.centre_crops(images.x_test)
    x = fit_standardize(images.x_train, "imagenet")(crops).numpy()
    told = made.model.evaluate(x, images.y_test, batch_size=2, verbose=0, return_dict=True)
    for name, value in told.items():
        assert history.history[f"val_{name}"][-1] == pytest.approx(value, rel=1e-5)


def test_curvature_is_measured_on_files_that_are_read(root):
    values = {"schedule.name": "two_phase", "schedule.curvature_samples": 3}
    made = build.build(small_config(**values), root)
    x, y = load_data(made.schedules[-1].curvature.source)
    assert x.shape == (3, 16, 16, 3)
    np.testing.assert_array_equal(y, made.train[1][:3])
    assert -2.2 < x.min() < x.max() < 2.7  # standardised
    of_ranks = [made.schedules[-1].curvature.source.of_rank(rank, 2) for rank in range(2)]
    np.testing.assert_array_equal(of_ranks[0][0], x[::2])  # each rank reads its own alone
    np.testing.assert_array_equal(of_ranks[1][0], x[1::2])


def test_the_batch_may_exceed_the_data_set(root):
    made = build.build(small_config(batch_size=64, tail="update"), root)
    made.model.run_eagerly = True
    made.fit([])
    assert int(made.model.optimizer.iterations) == 2
    assert made.model.samples_seen == 2 * 9


def test_a_damaged_file_ends_the_training_with_its_name(root):
    path = root / "imagenet/train/n01/2.JPEG"
    path.write_bytes(path.read_bytes()[:50])
    made = build.build(small_config(), root)
    made.model.run_eagerly = True  # the files are read in a graph all the same
    with pytest.raises(OSError, match=rf"JPEG nor PNG: {re.escape(str(path))}[.]$"):
        made.fit([])
