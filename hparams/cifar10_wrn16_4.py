"""Wide-ResNet 16-4 on CIFAR-10: model C2 of the adaptive batch size paper, Table V.

bl, fb, gg, abs, absa, absa_tuned (`tflbt.recipes.strategies`): `abs-absa.txt`, appendix A and B, and, where they are
silent, the authors' released code: pixels divided by 255 and nothing else, no augmentation, momentum 0.9, no weight
decay. absa_tuned takes what the paper tuned for C1.

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
    config.epochs = 90
    config.batch_size = config.sub_batch_size = 128
    config.data.update({"name": "cifar10", "standardize": "divide_255"})
    config.model = recipes.section("model", "wide_resnet", depth=16, width=4)
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=0.1, momentum=0.9)
    # The largest batch of Table V.
    apply_strategy(config, variant, largest=16_000, decay_epochs=(30, 60, 80), decay_ratio=5)
    return config
