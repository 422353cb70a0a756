"""The share of small losses that is discarded, in steps of "Study on the Large Batch Size Training ...".

figure_9: 10% to 90%; the paper looks at the gradients of one update with each, and trains with 30% alone.

`curvature-radius.txt`, section 3.1. For it, --config=hparams/cifar10_alexnet.py:discard_2000 or :discard_8000. The
other papers print no search: batch augmentation compares gradients with M from 2 to 32 (Figure 4), with a batch that
grows with M, and adaptive batch sizes keep alpha = beta = 2 and kappa = 10 for all (appendix B of `abs-absa.txt`).
"""

from __future__ import annotations

import keras_tuner
import ml_collections

from tflbt.tuning import space

SPACES = {"figure_9": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]}


def get_space(
    config: ml_collections.ConfigDict, name: str = "figure_9"
) -> keras_tuner.HyperParameters:
    """Returns the space of that name."""
    hp = keras_tuner.HyperParameters()
    hp.Choice("small_loss.share", space.named(SPACES, name), default=0.3)
    return hp
