"""Sums gradients over the ranks in parts, each as soon as it is final, while the rest is still computed."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tflbt.distributed import comm
from tflbt.training.stopwatch import Lap, Stopwatch
from tflbt.training.update_state import TrainingModel

PARTS = 4
PART = 2**20  # bytes at least, but for the last


class EarlySums:
    """The sums over ranks of an update's gradients.

    A model whose gradients are small has one part, which travels with the update's other sums. Of a large one all
    parts but the last begin in the last sub-batch, while its backward pass goes on. A rank computes until its own
    gradients are there: what it waits for from then on is communication. Where Horovod may join parts, as in a program
    that has started it by itself, each begins when the one before has ended: three ranks or more would add the numbers
    of joined parts in another order, now and then. Where MPI would take a rank's only core from its backward pass, all
    parts begin when that has ended.

    Args:
        model: The model, compiled.
        early: Whether parts may begin in the last sub-batch; otherwise there is one part.
    """

    def __init__(self, model: TrainingModel, early: bool) -> None:
        self._model = model
        sizes = [v.dtype.size * v.shape.num_elements() for v in model.trainable_variables]
        early = early and model.reduction.varies
        whole = [list(range(len(sizes)))]
        *self.early, self.rest = parts(sizes, max(PART, sum(sizes) // PARTS)) if early else whole

    def sub_batch(self, last: tf.Tensor, gradients: list[tf.Tensor], lap: Lap) -> list[tf.Tensor]:
        """The sums after a sub-batch: if it is the `last`, those of early parts are over all ranks."""
        if self.early and isinstance(lap, Stopwatch):
            read, no_time = lap.read, tf.zeros([], tf.float64)
            tf.cond(last, lambda: read("computation", gradients), lambda: no_time)
        sums = list(gradients)
        before: list[tf.Tensor] = []
        computed = gradients if comm.sums_take_the_core() else []
        for number, places in enumerate(self.early):
            mine = [gradients[place] for place in places]
            name = f"tflbt.update.part{number}"

            def over_ranks(mine: list[tf.Tensor] = mine, name: str = name) -> list[tf.Tensor]:
                return self.sums(mine, name)

            def as_they_are(mine: list[tf.Tensor] = mine) -> list[tf.Tensor]:
                return [tf.identity(gradient) for gradient in mine]

            behind = [*computed, *([] if comm.groups_stay_apart() else before)]
            with tf.control_dependencies(behind):
                before = tf.cond(last, over_ranks, as_they_are)
            for place, total in zip(places, before):
                sums[place] = total
        return sums

    def sums(self, gradients: list[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Sums gradients over the ranks; compressed ones divided by the number of all sub-batches meanwhile.

        They are means over samples, so float16 cannot overflow.
        """
        reduction = self._model.reduction
        if reduction.compression is None:
            return comm.all_reduce_sum(gradients, name, reduction, in_branch=True)
        ranks = tf.cast(reduction.size_in_graph, tf.float32)
        count = tf.cast(self._model.sub_batches_variable, tf.float32) * ranks
        shares = [gradient / tf.cast(count, gradient.dtype) for gradient in gradients]
        shares = comm.all_reduce_sum(shares, name, reduction, in_branch=True)
        return [share * tf.cast(count, share.dtype) for share in shares]


def parts(sizes: Sequence[int], smallest: int) -> list[list[int]]:
    """Which of a list of gradients travel together, in the order in which the parts become final.

    A backward pass ends with the first gradients, so parts begin at the end of the list. All but the last, which has
    the first gradients and waits for everything else anyway, have at least the `smallest` size: each costs messages.

    Args:
        sizes: Bytes of each gradient, in the order of the network's variables.
        smallest: Bytes that make a part.

    Example:
        >>> parts([1, 2, 3, 4], smallest=5)
        [[2, 3], [0, 1]]
    """
    found: list[list[int]] = [[]]
    for place in reversed(range(len(sizes))):
        if sum(sizes[other] for other in found[-1]) >= smallest:
            found.append([])
        found[-1].insert(0, place)
    return found
