"""ResNet-18 on CIFAR-100: model C5 of the adaptive batch size paper, Table VII.

bl, fb, gg, abs, absa, absa_tuned (`tflbt.recipes.strategies`): `abs-absa.txt`, appendix A and B, and, where they are
silent, the authors' released code: each channel standardised (there by the constants of CIFAR-10, here by the training
set's statistics, which differ little), momentum 0.9, no weight decay. "Standard" augmentation is 4 black pixels padded,
cropped, flipped. The first batch of absa_tuned is ours, and nearly the largest.

On R ranks add --config.sub_batch_size=N with N = 128 / R.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes
from tflbt.recipes.strategies import STRATEGIES, apply_strategy

VARIANTS = STRATEGIES


def get_config(variant: str = "absa") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.epochs = 160
    config.batch_size = config.sub_batch_size = 128
    config.data.update({"name": "cifar100", "standardize": "per_channel"})
    config.data.update({"padding": 4, "pad_with": "black", "flip": True})
    config.model = recipes.section("model", "resnet18", stem="cifar")
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=0.1, momentum=0.9)
    # The largest batch of Table VII.
    apply_strategy(config, variant, largest=2048, decay_epochs=(80, 120), decay_ratio=10)
    if config.batch_schedule.name == "adaptive":
        config.batch_schedule.curvature_samples = 1024
    return config
