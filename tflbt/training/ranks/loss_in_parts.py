"""Whether a loss is a mean over samples, so that sub-batches and ranks have the gradient of the whole batch."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt.training import keras_internals
from tflbt.training.ranks.batch_parts import joined, rows
from tflbt.training.ranks.probe import ONE_NUMBER, Probe, RefusedError


def check(probe: Probe, *, quiet: bool) -> None:
    """Refuses a loss that grows with the number of samples; names, unless `quiet`, what may be no mean.

    Raises:
        RefusedError: If k sub-batches would make its gradient k times too small.
    """
    some = rows(probe.parts[0], 0, 4)
    values = [probe.run(joined([some] * times)) for times in (1, 2, 3)]
    steps = np.diff(values)
    losses = [keras_internals.name_of(loss) for loss in tf.nest.flatten(probe.model.loss)]
    name = ", ".join(losses) or "compute_loss"
    tolerance = 1e-6 + 1e-4 * abs(values[0])
    if abs(steps[0]) > tolerance and np.isclose(steps[0], steps[1], rtol=0.02):
        raise RefusedError(
            f"the loss ({name}, and what add_loss adds) has a part that is a sum over samples: it is "
            f"{values[0]:.6g} for some samples and {values[1]:.6g} for the same twice, so that its gradient "
            "would depend on the number of sub-batches and ranks. Return one loss per sample, or the mean."
        )
    if quiet:
        return
    numbers = [each for each in probe.of_one_number if each.startswith("loss ")]
    texts = [f"{', '.join(numbers)}: {ONE_NUMBER}"] if numbers else []
    halves = [probe.run(part) for part in probe.parts]
    both = probe.run(joined(probe.parts))
    random = abs(both - probe.run(joined(probe.parts))) > tolerance
    if not random and abs(both - np.mean(halves)) > tolerance:
        texts.append(
            f"The loss ({name}) over two sub-batches ({both:.6g}) is not their mean ({halves[0]:.6g} and "
            f"{halves[1]:.6g}): it is computed on sub-batches of each rank, not on whole batches as in Keras."
        )
    if texts:
        logging.warning("%s", " ".join(texts))
