"""ResNet-18 on ImageNet: model I3 of the adaptive batch size paper, Fig. 3.

bl, fb, gg, abs, absa, absa_tuned (`tflbt.recipes.strategies`): `abs-absa.txt`, appendix A and sections IV-B and IV-C:
batch 256 to 16,384; absa_tuned begins with 4,096, warms up over 20 epochs and has 100, decaying where the others do.
It did not run fb, nor gg, of which it gives the number of updates. Where it is silent, PyTorch's own example for
ImageNet, whose baseline this is: momentum 0.9, weight decay 1e-4 (our inference: 70.46% is hard to reach without it),
8% to 100% of an image (areas uniform, as torchvision draws them), flipped.

On R ranks add --config.sub_batch_size=N with N = 256 / R. We have not run these.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes
from tflbt.recipes.strategies import STRATEGIES, apply_strategy

VARIANTS = STRATEGIES


def get_config(variant: str = "absa") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.epochs = 100 if variant == "absa_tuned" else 90
    config.batch_size = config.sub_batch_size = 256
    config.data.update({"name": "imagenet", "standardize": "imagenet"})
    config.data.update({"image_size": 224, "flip": True})
    config.data.update({"crop_area": (0.08, 1.0), "crop_draw": "area"})
    config.model = recipes.section("model", "resnet18", stem="imagenet", weight_decay=1e-4)
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=0.1, momentum=0.9)
    apply_strategy(
        config,
        variant,
        largest=16_384,
        decay_epochs=(30, 60, 80),
        decay_ratio=10,
        tuned_batch_size=4096,
        tuned_warmup=20.0,
    )
    if config.batch_schedule.name == "adaptive":
        config.batch_schedule.curvature_samples = 4096
    return config
