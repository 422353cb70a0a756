"""The two-phase paper's tables of sensitivity, for GridSearch; the recipes are those of batch 8,192 on CIFAR.

- table_6: the extra epochs of exploration, 20% to 50% of those up to the plateau. Its last row, 50% and a tenth more
  epochs, is table_6 with --config.epochs=330 (275 on CIFAR-100).
- table_7: the decay factor beta, 0.3 to 0.7.

`two-phase.txt`, section 4.2. For it, --config=hparams/cifar10_resnet20.py:two_phase_lars or
hparams/cifar_wrn28_10.py:two_phase_lars; any recipe with the two-phase schedule will do.
"""

from __future__ import annotations

import keras_tuner
import ml_collections

from tflbt.tuning import space

# Hyper-parameter, its values, and the best of them in the paper, which is tried first.
SPACES = {
    "table_6": ("schedule.extra_fraction", [0.2, 0.3, 0.4, 0.5], 0.3),
    "table_7": ("schedule.beta", [0.3, 0.4, 0.5, 0.6, 0.7], 0.5),
}


def get_space(
    config: ml_collections.ConfigDict, name: str = "table_7"
) -> keras_tuner.HyperParameters:
    """Returns the space of that name."""
    hp = keras_tuner.HyperParameters()
    key, values, best = space.named(SPACES, name)
    hp.Choice(key, values, default=best)
    return hp
