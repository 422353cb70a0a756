"""Every variant of every recipe in `hparams/` loads, builds its network and takes an update."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tflbt import recipe, recipe_build
from tflbt.data import ImageData

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"
FILES = sorted(HPARAMS.glob("*.py"))
IMAGE_SHAPES = {"digits": (8, 8, 1), "mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
VARIANTS = [(file, row) for file in FILES for row in recipe.TABLE_ROWS]


def two_samples(name: str) -> ImageData:
    images = np.random.default_rng(0).integers(0, 256, (2, *IMAGE_SHAPES[name]), np.uint8)
    labels = np.array([0, 1])
    return ImageData(images, labels, images, labels, classes=10, name=name)


@pytest.mark.parametrize(
    ("file", "variant"), VARIANTS, ids=lambda part: getattr(part, "stem", part)
)
def test_variant_builds_and_takes_an_update(file, variant):
    config = recipe.load(f"{file}:{variant}")
    assert config.name == f"{file.stem}:{variant}"
    assert config.is_locked
    recipe_build.check(config)
    made = recipe_build.build(config, images=two_samples(config.data.name))
    made.model.run_eagerly = True  # a graph of one step would take longer to make than to use
    before = [weight.numpy() for weight in made.model.trainable_weights]
    history = made.model.fit(
        *made.train, batch_size=2, sub_batch_size=1, epochs=1, transform=made.transform, verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()
    assert int(made.model.optimizer.iterations) == 1
    changed = [np.any(w.numpy() != b) for w, b in zip(made.model.trainable_weights, before)]
    assert np.mean(changed) > 0.5
    assert made.model.predict(made.test[0], verbose=0).shape == (2, 10)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_weights_decay_once_and_rows_differ_as_the_table_says(file):
    rows = {row: recipe.load(f"{file}:{row}") for row in recipe.TABLE_ROWS}
    for row, config in rows.items():
        assert (config.optimizer.name == "LARS") == row.endswith("lars")
        in_optimizer = config.optimizer.get("weight_decay", 0.0)
        assert bool(in_optimizer) != bool(config.model.weight_decay), row
        assert (config.schedule.name == "two_phase") == row.startswith("two_phase")
        assert config.epochs == rows["lars"].epochs and config.data == rows["lars"].data
        assert (config.batch_size < rows["large_batch"].batch_size) == (row == "small_batch")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_unknown_variant_is_told_with_those_that_there_are(file):
    with pytest.raises(
        ValueError, match=f"{file.name} has no variant 'lamb': use one of small_batch, large"
    ):
        recipe.load(f"{file}:lamb")
    assert recipe.load(str(file)).name == f"{file.stem}:two_phase_lars"


@pytest.mark.parametrize(
    ("variant", "batch_size", "learning_rate", "decay", "coefficient"),
    [
        ("small_batch", 128, 0.1, "step", None),
        ("large_batch", 8192, 6.4, "step", None),
        ("lars", 8192, 3.5, "step", 0.01),
        ("two_phase", 8192, 6.4, "two_phase", None),
        ("two_phase_lars", 8192, 3.5, "two_phase", 0.01),
    ],
)
def test_cifar10_resnet20_is_table_2(variant, batch_size, learning_rate, decay, coefficient):
    config = recipe.load(f"{HPARAMS}/cifar10_resnet20.py:{variant}")
    assert (config.epochs, config.batch_size, config.warmup.epochs) == (300, batch_size, 10)
    assert config.model.depth == 20 and config.optimizer.momentum == 0.9
    assert config.optimizer.learning_rate == pytest.approx(learning_rate)
    assert config.optimizer.get("trust_coefficient") == coefficient
    assert config.schedule.name == decay
    if decay == "step":
        assert (tuple(config.schedule.epochs), config.schedule.factor) == ((150, 225), 0.1)
    else:
        assert config.schedule.beta == 0.5 and config.schedule.extra_fraction == pytest.approx(
            1 / 3
        )
    assert config.data.to_dict() == {
        "name": "cifar10", "standardize": "per_pixel", "padding": 4, "flip": True,
    }  # fmt: skip


def test_every_recipe_has_images_to_try_it_on():
    assert {recipe.load(str(file)).data.name for file in FILES} <= set(IMAGE_SHAPES)
    assert len(FILES) >= 3
