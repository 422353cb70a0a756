"""The word-level LSTM on Penn Treebank: batch augmentation by dropout, Table 1 of its paper.

baseline, 20 windows of 70 words an update; m10, M = 10 instances of each, told apart by their dropout.

`batch-augmentation.txt`, section 3.3, which takes "the implementation by Merity et al. (2017)": its README has the
same 58.8 for B = 20 and 500 epochs. From there also SGD without momentum, learning rate 30, gradients clipped to a
norm of 0.25, weight decay 1.2e-6 of all weights (in the optimizer, after the clipping, as there). The perplexity,
val_perplexity, will be higher than the paper's. Missing here: *averaged SGD*, to which theirs goes over once the
validation loss has not improved for 5 epochs, and without which the rate of 30 never falls; text read on from one
window to the next; windows of random length, with a rate in proportion (`tflbt.models.word_lstm`,
`tflbt.data.sets.text_data`).

The instances of a window share a sub-batch, as there: they differ in the masks of features, but not in those of words
and of weights. In sub-batches of their own they have all of their own: --config.batch_augmentation.placement=rank
--config.sub_batch_size=20. The batches divide over 1, 2 and 4 ranks.
"""

from __future__ import annotations

import ml_collections

from tflbt import recipes

B = 20
INSTANCES = {"baseline": 1, "m10": 10}
VARIANTS = tuple(INSTANCES)


def get_config(variant: str = "m10") -> ml_collections.ConfigDict:
    """Returns the configuration of a variant."""
    config = recipes.start(__file__, variant, VARIANTS)
    config.epochs = 500
    config.batch_size = B * INSTANCES[variant]
    config.batch_augmentation.instances = INSTANCES[variant]
    config.data.name = "penn_treebank"
    config.metrics = ("accuracy", "perplexity")
    config.model = recipes.section(
        "model",
        "word_lstm",
        embedding=400,
        units=1150,
        layers=3,
        dropout_input=0.4,
        dropout_hidden=0.25,
        tie_weights=True,
    )
    config.optimizer = recipes.section(
        "optimizer", "SGD", learning_rate=30.0, weight_decay=1.2e-6, global_clipnorm=0.25
    )
    return config
