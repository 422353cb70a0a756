"""A small ResNet on scikit-learn's digits: the five rows of the two-phase paper's Table 2 in seconds.

The demonstration of the whole path; its hyper-parameters are ours, found by a few runs, not a paper's.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes
from tflbt.schedules import linear_scaling

SMALL, LARGE = 32, 512
VARIANTS = recipes.TABLE_ROWS


def get_config(variant: str = "two_phase_lars") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.epochs = 60
    config.batch_size = SMALL if variant == "small_batch" else LARGE
    config.sub_batch_size = 16 if variant == "small_batch" else 64
    config.data.name = "digits"
    config.data.padding = 1
    layer_wise = variant.endswith("lars")
    config.model = recipes.section(
        "model", "digits_resnet", depth=8, weight_decay=0.0 if layer_wise else 5e-4
    )
    if layer_wise:
        config.optimizer = recipes.lars(1.0, 5e-4, 0.01)
    else:
        rate = linear_scaling(0.02, config.batch_size, SMALL)
        config.optimizer = recipes.section(
            "optimizer", "SGD", learning_rate=rate, momentum=0.9, nesterov=True
        )
    config.warmup.epochs = 0.0 if variant == "small_batch" else 5.0
    if variant.startswith("two_phase"):
        config.schedule.name = "two_phase"
    else:
        config.schedule.name = "step"
        config.schedule.epochs = (30, 45)
    return config
