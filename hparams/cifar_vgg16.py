"""VGG-16 with cutout on CIFAR-10 and CIFAR-100: batch augmentation, Table 1 of its paper.

cutout and cutout_m32, M = 32 instances of each sample; cifar100_ before them: on CIFAR-100. Squares of 16 pixels are
cut out (DeVries and Taylor 2017 take 8 for CIFAR-100: --config.data.cutout_size=8).

`batch-augmentation.txt`, section 3.1, says no more than "VGG". The network, its regime and the augmentation are those
of convNet.pytorch, the code of the paper's first author: 4 black pixels padded, VGG-16 with batch normalisation, two
hidden dense layers and dropout, learning rate 0.1 divided by 5 at 60, 120 and 160, momentum 0.9, weight decay 5e-4.
*Ours*: 200 epochs, and B = 64, as with ResNet-44.

The instances of a sample share a sub-batch, which is a rank's share of M * B = 2,048; where that does not fit into
memory, add --config.sub_batch_size=N with a multiple of 32.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes

B = 64
INSTANCES = {"cutout": 1, "cutout_m32": 32, "cifar100_cutout": 1, "cifar100_cutout_m32": 32}
VARIANTS = tuple(INSTANCES)


def get_config(variant: str = "cutout_m32") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    hundred = variant.startswith("cifar100")
    config.epochs = 200
    config.batch_size = B * INSTANCES[variant]
    config.batch_augmentation.instances = INSTANCES[variant]
    config.data.update({"name": "cifar100" if hundred else "cifar10", "standardize": "per_channel"})
    config.data.update({"padding": 4, "pad_with": "black", "flip": True, "cutout_size": 16})
    config.schedule.update({"name": "step", "epochs": (60, 120, 160), "factor": 0.2})
    config.model = recipes.section(
        "model", "vgg16", units=(4096, 4096), dropout=0.5, weight_decay=5e-4
    )
    config.optimizer = recipes.section("optimizer", "SGD", learning_rate=0.1, momentum=0.9)
    return config
