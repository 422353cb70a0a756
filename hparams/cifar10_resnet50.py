"""ResNet-50 on CIFAR-10 at batch 25,000 and 50,000: optimizations 0 to 4 of `limit-of-the-batch-size.txt`.

- baseline: Table 2, batch 128, 200 epochs, 93.9% in the paper.
- optimization_0: batch 25,000, two updates an epoch, where that paper's huge batches begin (figure 13). Momentum
  SGD at the linearly scaled rate, cosine decay, gradients clipped, ghost batch normalisation (section 3.1).
- optimization_1: and a warm-up.
- optimization_2: and a tuned rate and warm-up.
- optimization_3: and label smoothing.
- optimization_4: LARS in place of momentum SGD.
- full_batch_0 to full_batch_4: the same at 50,000, the whole training set (section 3.2, figures 14 and 15; best
  of the paper: 92.58%, in 5,000 epochs).

What the paper gives no number for: the baseline's settings are those of pytorch-cifar, which it names as its
implementation, the black pad too; ghosts of 125 are its 128 (section 4.1) made to divide the batch; a warm-up of 5
epochs is Goyal et al.'s (2017), whom it cites. Its tuned values are in figures without text in our copy, so those here
are *ours and not tuned*: the square-root rule for SGD, and for LARS rate and momentum of the best row of Table 4
(ImageNet), with that row's share of warm-up, 25 of 90 epochs, for both. So is the norm at which gradients are clipped.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes
from tflbt.schedules import linear_scaling, square_root_scaling

SMALL, HUGE, FULL = 128, 25_000, 50_000
GHOST = 125
EPOCHS = 200
RATE, WEIGHT_DECAY = 0.1, 5e-4  # of pytorch-cifar, at batch 128
LARS_RATE, LARS_MOMENTUM = 28.0, 0.94429
TUNED_WARMUP = EPOCHS * 25 / 90
CLIP = 1.0

VARIANTS = (
    "baseline",
    *(f"optimization_{number}" for number in range(5)),
    *(f"full_batch_{number}" for number in range(5)),
)


def get_config(variant: str = "optimization_4") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.epochs = EPOCHS
    config.data.update(
        {"name": "cifar10", "standardize": "per_channel", "padding": 4, "flip": True}
    )
    config.data.pad_with = "black"
    config.schedule.name = "cosine"
    config.model = recipes.section("model", "resnet50", stem="cifar", weight_decay=WEIGHT_DECAY)
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=RATE, momentum=0.9)
    config.batch_size = SMALL
    if variant != "baseline":
        config.batch_size = FULL if variant.startswith("full") else HUGE
        _optimize(config, int(variant[-1]))
    return config


def _optimize(config: ml_collections.ConfigDict, number: int) -> None:
    """Adds the paper's optimizations up to one of 0 to 4."""
    config.sub_batch_size = GHOST
    config.optimizer.learning_rate = linear_scaling(RATE, config.batch_size, SMALL)
    if number >= 1:
        config.warmup.epochs = 5.0
    if number >= 2:
        config.warmup.epochs = TUNED_WARMUP
        config.optimizer.learning_rate = square_root_scaling(RATE, config.batch_size, SMALL)
    if number >= 3:
        config.label_smoothing = 0.1
    if number >= 4:
        _take_lars(config)
    config.model.ghost_batch_size = GHOST
    config.optimizer.global_clipnorm = CLIP


def _take_lars(config: ml_collections.ConfigDict) -> None:
    """Puts LARS in the place of SGD; weights decay once, in the optimizer."""
    config.model.weight_decay = 0.0
    config.optimizer = recipes.lars(LARS_RATE, WEIGHT_DECAY, 0.001, momentum=LARS_MOMENTUM)
