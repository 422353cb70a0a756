"""A recipe on folders of JPEG files: two ranks train as one does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.ranks.twins import SETS
from tflbt import recipes
from tflbt.distributed import comm
from tflbt.recipes import build as recipe_build

RECIPE = Path(__file__).resolve().parents[2] / "hparams" / "imagenet_resnet50.py"


def write_images(folder):
    """Two classes of dark and light images, 5 and 4 to train on and 2 and 3 to validate."""
    rng = np.random.default_rng(0)
    for split, counts in (("train", (5, 4)), ("val", (2, 3))):
        for label, count in enumerate(counts):
            place = folder / "imagenet" / split / f"n0{label + 1}"
            place.mkdir(parents=True)
            for number in range(count):
                shape = (*rng.integers(20, 60, 2), 3)
                image = rng.integers(128 * label, 128 * (label + 1), shape).astype(np.uint8)
                (place / f"{number}.JPEG").write_bytes(tf.io.encode_jpeg(image).numpy())


def train(data_dir):
    """From the same weights, losses and weights after two epochs."""
    config = recipes.load(f"{RECIPE}:baseline")
    with config.unlocked():
        config.model = {"name": "lenet", "filters": (4, 4), "units": 8}
    config.update_from_flattened_dict(
        {
            "epochs": 2,
            "batch_size": 4,
            "sub_batch_size": 2,
            "data.image_size": 16,
            "optimizer.learning_rate": 0.01,
            "metrics": ("accuracy", "perplexity"),
            "curvature.every": 1,  # on 4 images, of which a rank reads its own
        }
    )
    recipe = recipe_build.build(config, data_dir)
    rng = np.random.default_rng(0)
    recipe.model.set_weights([rng.normal(0, 0.1, w.shape) for w in recipe.model.get_weights()])
    history = recipe.fit([]).history
    weights = np.concatenate([w.ravel() for w in recipe.model.get_weights()])
    columns = ("loss", "val_loss", "val_accuracy", "val_perplexity", "eigenvalue_output")
    return [*(value for name in columns for value in history[name]), *weights[:200]]


def test_two_ranks_train_as_one(rank, shared_folder):
    if rank == 0:
        write_images(shared_folder)
    comm.gather_objects(None, "written")
    together = train(shared_folder)
    with comm.process_set_scope(SETS[rank]):
        expected = train(shared_folder)
    assert len(together) == 2 * 5 + 200
    np.testing.assert_allclose(together, expected, rtol=1e-4, atol=1e-5)
