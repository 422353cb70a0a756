"""AlexNet on ImageNet: model I2 of the adaptive batch size paper, and Table 2 of the batch augmentation paper.

bl, fb, abs, absa, absa_tuned (`tflbt.recipes.strategies`): I2 of `abs-absa.txt`, appendix A and Fig. 8 (bl and absa).
The learning rate falls along a parabola to 0.01 of itself at epoch 60 and stays there for 30 more; gg, which grows
where a rate is divided, has no place. The largest batch is that "reached by ABSA", 16,384 (section IV-B). The first
batch of absa_tuned and its warm-up are I3's. Where it is silent, PyTorch's own example for ImageNet, whose rate and
batch these are: torchvision's network, momentum 0.9, weight decay 1e-4, 8% to 100% of an image (areas uniform, as
torchvision draws them), flipped.

batch_512, batch_4096: "AlexNet-BN", Table 2 of `batch-augmentation.txt`, taken from You, Gitman and Ginsburg (2017).
A solver of theirs (`models/alexnet_bn` of Ginsburg's Caffe) has LARS with 0.001, 100 epochs, a warm-up of 5,
quadratic decay to 0, momentum 0.9, weight decay 5e-4, and rates of 2 at batch 1,024 and 10 at 8,192, which we take
for 512 and 4,096. Their network has two groups of channels; ours is `tflbt.models.alexnet` with batch normalisation.
Crops of a resized image, flipped, are ours.

On R ranks add --config.sub_batch_size=N with N = 256 / R (512 / R). We have not run these.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes
from tflbt.recipes.strategies import STRATEGIES, apply_strategy

# Learning rate by batch.
TABLE_2 = {"batch_512": 2.0, "batch_4096": 10.0}
VARIANTS = (*(strategy for strategy in STRATEGIES if strategy != "gg"), *TABLE_2)


def get_config(variant: str = "absa") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.data.update({"name": "imagenet", "standardize": "imagenet"})
    config.data.update({"image_size": 224, "flip": True})
    if variant in TABLE_2:
        _table_2(config, variant)
    else:
        _i2(config, variant)
    return config


def _i2(config: ml_collections.ConfigDict, strategy: str) -> None:
    config.epochs = 90
    config.batch_size = config.sub_batch_size = 256
    config.data.update({"crop_area": (0.08, 1.0), "crop_draw": "area"})
    config.model = recipes.section("model", "alexnet", form="imagenet", weight_decay=1e-4)
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=0.01, momentum=0.9)
    apply_strategy(
        config,
        strategy,
        largest=16_384,
        decay_epochs=(),
        decay_ratio=10,
        tuned_batch_size=4096,
        tuned_warmup=20.0,
    )
    config.schedule.update({"name": "polynomial", "power": 2.0, "end_factor": 0.01, "until": 60.0})
    if config.batch_schedule.name == "adaptive":
        config.batch_schedule.curvature_samples = 4096


def _table_2(config: ml_collections.ConfigDict, variant: str) -> None:
    config.epochs = 100
    config.batch_size, config.sub_batch_size = int(variant.partition("_")[2]), 512
    config.data.resize_then_crop = True
    config.model = recipes.section("model", "alexnet", form="imagenet", batch_norm=True)
    config.optimizer = recipes.lars(TABLE_2[variant], 5e-4, 0.001)
    config.warmup.epochs = 5.0
    config.schedule.update({"name": "polynomial", "power": 2.0})
