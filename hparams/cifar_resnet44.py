"""ResNet-44 on CIFAR-10 and CIFAR-100: batch augmentation, Fig. 1 and Table 1 of its paper.

Variants, each also with the prefix cifar100_: baseline; ba, M = 10 instances of each sample; cutout; cutout_m2, m4,
m8, m16, m32 (Fig. 1) and m40 (Table 1) with squares of 16 pixels cut out; regime_adaptation, batch 640 and 10 times
the epochs in place of instances (Fig. 5).

`batch-augmentation.txt`, section 3.1, and He et al. 2016, whose network and regime it takes with B = 64: learning rate
0.1 divided by 10 at 32,000 and 48,000 of 64,000 updates of 128, momentum 0.9, weight decay 1e-4 (of kernels; there of
all). Images are augmented as in convNet.pytorch, the code of the first author: 4 black pixels padded, and squares of 16
pixels for CIFAR-100 too, where DeVries and Taylor (2017) take 8 (--config.data.cutout_size=8). That code differs from
He et al. in its network and steps: --config.model.shortcut=B --config.model.zero_init_last_gamma=True
--config.schedule.epochs=(81,122), logits that begin at N(0, 0.01), colours standardised by ImageNet's constants; its
README has 100 epochs for M = 40 (--config.epochs=100). The instances of a sample share a sub-batch; where M * B does
not fit into memory, add --config.batch_augmentation.placement=rank --config.sub_batch_size=64.

regime_adaptation is Hoffer et al.'s (2017), whom it cites, by their code (bigBatch): besides the epochs, the learning
rate times sqrt(10), ghosts of the small batch's 64 samples, gradients clipped to a norm of 5.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes
from tflbt.schedules import regime_adaptation, square_root_scaling

B = 64
INSTANCES = {"ba": 10, **{f"cutout_m{m}": m for m in (2, 4, 8, 16, 32, 40)}}
ROWS = ("baseline", "cutout", *INSTANCES, "regime_adaptation")
VARIANTS = (*ROWS, *(f"cifar100_{row}" for row in ROWS))
EPOCHS, DECAY_EPOCHS = 164, (82, 123)


def get_config(variant: str = "cutout_m8") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    name = "cifar100" if variant.startswith("cifar100_") else "cifar10"
    row = variant.replace("cifar100_", "")
    config.epochs = EPOCHS
    config.schedule = recipes.section("schedule", "step", epochs=DECAY_EPOCHS, factor=0.1)
    config.batch_size = B * INSTANCES.get(row, 1)
    config.batch_augmentation.instances = INSTANCES.get(row, 1)
    config.data.update({"name": name, "standardize": "per_channel", "padding": 4, "flip": True})
    config.data.pad_with = "black"
    if row.startswith("cutout"):
        config.data.cutout_size = 16
    config.model = recipes.section("model", "cifar_resnet", depth=44, weight_decay=1e-4)
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=0.1, momentum=0.9)
    if row == "regime_adaptation":
        _adapt_regime(config)
    return config


def _adapt_regime(config: ml_collections.ConfigDict) -> None:
    """As many updates at 10 times the batch, with all that the authors' code changes for it."""
    config.batch_size = 10 * B
    config.epochs = regime_adaptation(EPOCHS, 10 * B, B)
    config.schedule.epochs = regime_adaptation(DECAY_EPOCHS, 10 * B, B)
    config.optimizer.learning_rate = square_root_scaling(0.1, 10 * B, B)
    config.optimizer.global_clipnorm = 5.0
    config.model.ghost_batch_size = B
