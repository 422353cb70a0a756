"""SqueezeNext and 2.0-SqueezeNext on CIFAR-10: models C3 and C4 of the adaptive batch size paper, Tables I and VI.

bl, fb, gg, abs, absa, absa_tuned (`tflbt.recipes.strategies`) are C3; with wide_ before them C4, which has twice the
channels. Both as in `abs-absa.txt`, appendix A and B, and, where they are silent, the authors' released code: pixels
divided by 255, momentum 0.9, no weight decay. "Standard" augmentation is 4 pixels padded, cropped, flipped.

On R ranks add --config.sub_batch_size=N with N = 128 / R.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes
from tflbt.recipes.strategies import STRATEGIES, apply_strategy

WIDE = "wide_"
VARIANTS = (*STRATEGIES, *(f"{WIDE}{strategy}" for strategy in STRATEGIES))


def get_config(variant: str = "absa") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    wide = variant.startswith(WIDE)
    config.epochs = 200
    config.batch_size = config.sub_batch_size = 128
    config.data.update({"name": "cifar10", "standardize": "divide_255", "padding": 4, "flip": True})
    config.model = recipes.section("model", "squeezenext", width=2.0 if wide else 1.0)
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=0.1, momentum=0.9)
    apply_strategy(
        config,
        variant[len(WIDE) :] if wide else variant,
        largest=4096 if wide else 16_384,  # of Table VI and of Table I
        decay_epochs=(60, 120, 160),
        decay_ratio=5,
    )
    return config
