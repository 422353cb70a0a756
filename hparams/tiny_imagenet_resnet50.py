"""ResNet-50 on TinyImageNet: model I1 of the adaptive batch size paper, Table VIII.

bl, fb, gg, abs, absa, absa_tuned (`tflbt.recipes.strategies`): `abs-absa.txt`, appendix A and B, and, where they are
silent, the authors' released code, which reads TinyImageNet too: 4 black pixels padded, cropped to 64, flipped, each
channel standardised (by constants there, by the training set's own statistics here, which differ little); momentum 0.9,
no weight decay. The stem is that for small images, which is ours, and so is the first batch of absa_tuned. Table VIII
gives gg at 16,384 48,995 updates in all, fewer than its first 90 epochs take (49,218); its counts for smaller batches
are what gg does here.

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
    config.epochs = 120
    config.batch_size = config.sub_batch_size = 128
    config.data.update({"name": "tiny_imagenet", "standardize": "per_channel"})
    config.data.update({"padding": 4, "pad_with": "black", "flip": True})
    config.model = recipes.section("model", "resnet50", stem="cifar")
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=0.1, momentum=0.9)
    # The largest batch of Table VIII.
    apply_strategy(config, variant, largest=16_384, decay_epochs=(60, 90), decay_ratio=10)
    if config.batch_schedule.name == "adaptive":
        config.batch_schedule.curvature_samples = 2048
    return config
