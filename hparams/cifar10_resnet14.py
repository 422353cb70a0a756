"""ResNet-14 on CIFAR-10, 15 epochs: Table 2 of the two-phase paper in small, for a processor.

small_batch, large_batch, lars, two_phase, two_phase_lars are the rows of `cifar10_resnet20.py` with the smallest
network of He et al. but one, a 20th of the epochs, and what counts epochs cut with them: the warm-up of 3 epochs, steps
after a half and three quarters of the epochs, a plateau of 5% of the budget (one epoch). Batches of 8,192 run on from
epoch to epoch (`tail="carry"`), so that 15 epochs are 92 updates. Batch normalisation sees 128 images in every row.
The rates of SGD and LARS at 8,192 are *ours*, the best of five each in short runs; `hparams/figures/table_2.py` finds
them and trains every row.

Every run keeps what other figures of the papers need: margins (Fig. 1 of `two-phase.txt`), and the checkpoints of some
epochs for landscapes (Figs 1 and 11 of `abs-absa.txt`).
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes

SMALL, LARGE = 128, 8192
EPOCHS = 15
SMALL_RATE, RATE, LARS_RATE = 0.1, 0.2, 1.75
WEIGHT_DECAY = 1e-4


def get_config(variant: str = "two_phase_lars") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant)
    config.epochs, config.tail, config.precision = EPOCHS, "carry", "mixed_bfloat16"
    small, layer_wise = variant == "small_batch", variant.endswith("lars")
    config.batch_size = SMALL if small else LARGE
    config.sub_batch_size = SMALL
    config.data.update({"name": "cifar10", "standardize": "per_pixel", "padding": 4, "flip": True})
    config.model = recipes.section(
        "model", "cifar_resnet", depth=14, weight_decay=0.0 if layer_wise else WEIGHT_DECAY
    )
    if layer_wise:
        config.optimizer = recipes.lars(LARS_RATE, WEIGHT_DECAY, 0.01)
    else:
        rate = SMALL_RATE if small else RATE
        config.optimizer = recipes.section("optimizer", "SGD", learning_rate=rate, momentum=0.9)
    if not small:
        begin = SMALL_RATE / config.optimizer.learning_rate
        config.warmup.update({"epochs": 3.0, "initial_factor": begin})
    if variant.startswith("two_phase"):
        config.schedule.name = "two_phase"
    else:
        config.schedule.name = "step"
        config.schedule.epochs = (EPOCHS // 2, EPOCHS * 3 // 4)
    config.margin.update({"every": 1, "samples": 5000})
    config.checkpoint.update({"initial": True, "keep_epochs": (1, EPOCHS // 2, EPOCHS)})
    return config
