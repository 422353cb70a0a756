"""The recipes of the two-phase paper are its tables 3, 4 and 5 (table 2: test_recipes.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tflbt import recipes
from tflbt.control.batch_plan import BatchPlan
from tflbt.recipes import build

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"
SHIFTED = {"standardize": "per_pixel", "padding": 4, "flip": True}
# File, epochs, network, data; the small batch with its rate, the large one, the rates of large-batch and of LARS; decay
# epochs, LARS coefficient, weight decay.
TABLES = {
    3: (
        "cifar_wrn28_10", 250, {"name": "wide_resnet", "depth": 28, "width": 10},
        {"name": "cifar100", **SHIFTED}, 128, 0.1, 8192, 6.4, 6.0, (125, 185), 0.01, 5e-4,
    ),
    4: (
        "svhn_wrn16_8", 160, {"name": "wide_resnet", "depth": 16, "width": 8, "dropout": 0.5},
        {"name": "svhn", "standardize": "per_pixel", "padding": 0, "flip": False},
        256, 0.01, 4096, 0.32, 0.32, (80, 120), 0.001, 5e-4,
    ),
    5: (
        "imagenet_resnet50_two_phase", 100,
        {"name": "resnet50", "stem": "imagenet", "zero_init_last_gamma": True},
        {
            "name": "imagenet", "image_size": 224, "resize_then_crop": True, "flip": True,
            "standardize": "imagenet", "brightness": 32 / 255, "hue": 0.1, "saturation": 0.4,
            "contrast": 0.4,
        },
        256, 0.1, 16_384, 6.4, 3.2, (30, 60, 80), 0.001, 1e-4,
    ),
}  # fmt: skip
each_table = pytest.mark.parametrize("table", TABLES)
each_row = pytest.mark.parametrize("row", recipes.TABLE_ROWS)


def load(table: int, row: str):
    return recipes.load(f"{HPARAMS}/{TABLES[table][0]}.py:{row}")


@each_table
@each_row
def test_row(table, row):
    _, epochs, network, data, small, small_rate, large, rate, layer_rate, *rest = TABLES[table]
    decay_epochs, coefficient, weight_decay = rest
    config, layer_wise = load(table, row), row.endswith("lars")
    assert (config.epochs, config.warmup.epochs) == (epochs, 10)
    assert data.items() <= config.data.to_dict().items()
    assert network.items() <= config.model.to_dict().items()
    assert config.batch_size == (small if row == "small_batch" else large)
    optimizer, rates = config.optimizer, {"small_batch": small_rate}
    expected = layer_rate if layer_wise else rates.get(row, rate)
    assert optimizer.learning_rate == pytest.approx(expected) and optimizer.momentum == 0.9
    assert optimizer.get("trust_coefficient") == (coefficient if layer_wise else None)
    assert max(config.model.weight_decay, optimizer.weight_decay or 0) == weight_decay
    # Goyal et al.: from the small batch's rate, which so has no warm-up.
    begin = config.warmup.initial_factor * optimizer.learning_rate
    assert begin == pytest.approx(small_rate)
    # A.2 of table 5: the last bias is regularised too.
    assert config.model.get("decay_last_bias") == (table == 5 and not layer_wise)
    if layer_wise:
        assert ("bias" in optimizer.exclude_from_weight_decay) == (table != 5)
    schedule = config.schedule
    if row.startswith("two_phase"):
        # Section 3.2: one large mini-batch; a loss that rises with the warm-up is no plateau.
        assert schedule.curvature_samples is None and schedule.after_warmup
        assert (schedule.name, schedule.beta) == ("two_phase", 0.5)
        assert schedule.extra_fraction == pytest.approx(1 / 3) and schedule.patience is None
    else:
        assert (schedule.name, tuple(schedule.epochs)) == ("step", decay_epochs)
        assert schedule.factor == 0.1


@each_table
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_batches_divide_over_ranks(table, ranks):
    for row in recipes.TABLE_ROWS:
        config = load(table, row)
        BatchPlan(config.batch_size, config.sub_batch_size, ranks)


@pytest.mark.parametrize("file", ["cifar10_resnet20", "cifar_wrn28_10"])
def test_tables_1_6_and_7_are_settings(file):
    for fraction, beta in ((0.2, 0.3), (0.5, 0.7)):
        config = recipes.load(f"{HPARAMS}/{file}.py:two_phase_lars")
        values = {"schedule.extra_fraction": fraction, "schedule.beta": beta}
        config.update_from_flattened_dict(values)
        build.check(config)
    config = recipes.load(f"{HPARAMS}/{file}.py:large_batch")
    config.schedule.epochs = (200, 250)
    build.check(config)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"data.crop_area": (0.5, 1.0)}, "for imagenet with [(]0.5, 1.0[)]"),
        ({"data.name": "cifar10"}, "for imagenet without crop_area, not for cifar10"),
    ],
)
def test_crops_of_resized_images_are_imagenets_alone(values, says):
    config = load(5, "lars")
    config.update_from_flattened_dict(values)
    with pytest.raises(ValueError, match=f"^config.data.resize_then_crop=True .*{says}"):
        build.check(config)


def test_imagenet_is_resized_and_then_cropped(tmp_path):
    """Of an image of stripes, one column each, a crop of the whole height shows 7/8 of the columns in their order."""
    stripes = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None] * 4, (32, 64, 3))
    for split in ("train", "val"):
        for label in "ab":
            folder = tmp_path / "imagenet" / split / label
            folder.mkdir(parents=True)
            (folder / "0.png").write_bytes(tf.io.encode_png(stripes).numpy())
    config = load(5, "large_batch")
    with config.unlocked():
        config.model.update({"blocks": (1,), "widths": (4,)})
    colours = {"brightness": 0.0, "hue": 0.0, "saturation": 0.0, "contrast": 0.0}
    config.data.update({"image_size": 28, "flip": False, **colours})
    made = build.build(config, tmp_path)
    seeds = tf.constant([[0, 1], [2, 3]], tf.int32)
    crops = made.transform(made.train[0], seeds).numpy()
    assert crops.shape == (2, 28, 28, 3)
    # Shorter side 32 = 256/224 of 28: nothing is scaled, so that neighbours differ by one stripe, 4 of 255.
    steps = np.diff(crops[..., 0], axis=2) * 0.229 * 255
    np.testing.assert_allclose(steps, 4, atol=0.01)
