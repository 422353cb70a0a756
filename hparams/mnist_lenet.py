"""LeNet on MNIST at batch 8,192: the five rows of the two-phase paper's Table 2, on real digits in minutes.

The paper has no MNIST; the rates are ours (hparams/RESULTS.md says how they were found). 30 epochs, as in
`limit-of-the-batch-size.txt`.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipe
from tflbt.schedules import linear_scaling

SMALL, LARGE = 256, 8192


def get_config(variant: str = "two_phase_lars") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipe.start(__file__, variant)
    config.epochs = 30
    config.batch_size = SMALL if variant == "small_batch" else LARGE
    config.sub_batch_size = 128 if variant == "small_batch" else 512
    config.data.name = "mnist"
    config.data.padding = 2
    layer_wise = variant.endswith("lars")
    with config.unlocked():
        config.model = {"name": "lenet", "weight_decay": 0.0 if layer_wise else 1e-4}
        if layer_wise:
            config.optimizer = {
                "name": "LARS",
                "learning_rate": 1.0,
                "momentum": 0.9,
                "weight_decay": 1e-4,
                "trust_coefficient": 0.01,
                "exclude_from_weight_decay": ("bias",),
                "exclude_from_adaptation": (),
            }
        else:
            rate = linear_scaling(0.02, config.batch_size, SMALL)
            config.optimizer = {"name": "SGD", "learning_rate": rate, "momentum": 0.9}
    config.warmup.epochs = 0.0 if variant == "small_batch" else 3.0
    if variant.startswith("two_phase"):
        config.schedule.name = "two_phase"
    else:
        config.schedule.name = "step"
        config.schedule.epochs = (15, 23)
    return config
