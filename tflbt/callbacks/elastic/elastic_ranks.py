"""`ElasticRanks`: ends a job, after a checkpoint, where its batch wants another number of ranks."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from absl import logging

from tflbt import checks
from tflbt.control.ranks import WantedRanks, check_ranks, ranks_for
from tflbt.distributed import comm, restart
from tflbt.training import keras_internals
from tflbt.training.keras_internals import TensorLogs


@checks.arguments
class ElasticRanks(TensorLogs, tf.keras.callbacks.Callback):
    """Asks for as many ranks as the batch wants, at the end of an epoch, by ending the job on all ranks.

    Where the next epoch's batch wants another number of ranks than there are (`tflbt.control.ranks_for`), `Checkpoint`
    writes a checkpoint and the file `next_ranks` beside it, and `fit` ends by `RestartNeeded`, a SystemExit with
    status 76. `launch/local.sh --elastic`, `launch/mpirun.sh --elastic` and `launch/slurm.sbatch` then start the job
    again with so many ranks, and `Checkpoint.resume` lets it go on. Without BatchNorm and dropout the run is that of
    any fixed number of ranks with the same batches, to float32 rounding: an update's samples depend on neither. Where
    the batch divides over no number in the range, the ranks stay as they are.

    It needs a `LargeBatchModel` and a `Checkpoint` behind it in the list of callbacks, and comes after the callbacks
    that set the batch. Under Horovod every rank must run it; it communicates at the ends of epochs.

    Args:
        max_ranks: The most ranks, at least `min_ranks`; TFLBT_MAX_RANKS, which launchers set to what they have, may
            lower it.
        min_ranks: The fewest ranks, at least 1, default 1.
        samples_per_rank: The samples of an update that a rank is to compute, at least 1, default 256 (the paper's).

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, if the model is no LargeBatchModel, there
            is no Checkpoint behind, or only some of the job's ranks train the model.

    Source: section III-B of `abs-absa.txt`.

    Example:
        >>> import tempfile, tflbt
        >>> from tflbt.callbacks import Checkpoint, GrowBatchSize
        >>> from tflbt.distributed.restart import RestartNeeded
        >>> inputs = tf.keras.Input([2])
        >>> model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
        >>> model.compile("sgd", "mse")
        >>> grow = GrowBatchSize([1], factor=2, max_batch_size=16)
        >>> checkpoint = Checkpoint(tempfile.mkdtemp())
        >>> elastic = ElasticRanks(max_ranks=4, samples_per_rank=8)
        >>> x, y = tf.ones([32, 2]), tf.ones([32, 1])
        >>> try:
        ...     _ = model.fit(x, y, batch_size=8, sub_batch_size=8, epochs=3, verbose=0,
        ...                   callbacks=[grow, elastic, checkpoint])
        ... except RestartNeeded as ended:
        ...     print(ended.code, (checkpoint.directory / "next_ranks").read_text().strip())
        76 2 resize
    """

    def __init__(self, max_ranks: int, min_ranks: int = 1, samples_per_rank: int = 256) -> None:
        super().__init__()
        check_ranks(min_ranks, max_ranks, samples_per_rank)
        self.max_ranks, self.min_ranks = max_ranks, min_ranks
        self.samples_per_rank = samples_per_rank
        self._callbacks: list[Any] = []  # of the fit

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Raises ValueError where the job could not go on with other ranks."""
        state = getattr(self.model, "update_state", None)
        if state is None:
            raise ValueError(
                "ElasticRanks needs a model whose batch does not depend on the ranks, which "
                f"{type(self.model).__name__} is not: use tflbt.LargeBatchModel.from_model(model)."
            )
        if self.model.reduction.options:
            raise ValueError(
                "ElasticRanks can change the ranks of the whole job only, and this model trains on a process set: "
                "leave it out."
            )
        calling = keras_internals.calling_list(self)
        self._callbacks = [self] if calling is None else list(calling.callbacks)
        behind = self._callbacks[self._callbacks.index(self) :]
        if not any(hasattr(each, "save_within_epoch") for each in behind):
            raise ValueError(
                "ElasticRanks ends the job to start it with other ranks, so it needs a tflbt.callbacks.Checkpoint "
                "behind it in the list of callbacks."
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Asks for other ranks, if the next epoch's batch wants them."""
        reduction = self.model.reduction
        batch = self._batch_size_of(epoch + 1)
        wanted = comm.on_chief(lambda: self.wanted(batch), "tflbt.elastic_ranks", reduction)
        if wanted == reduction.size:
            return
        if wanted is None:
            logging.log_if(
                logging.WARNING,
                f"elastic ranks: batch_size={batch} divides over no number of ranks from {self.min_ranks} to "
                f"{self.max_ranks} in sub-batches of {self.model.batch_plan.samples_a_rank_computes}: the "
                f"{reduction.size} ranks stay",
                reduction.rank == 0,
            )
            return
        self.model.update_state.wanted_ranks = WantedRanks(wanted, batch)

    def wanted(self, batch_size: int) -> int | None:
        """The ranks that a batch wants, as far as the launcher can grant them; None: those that there are."""
        most = restart.most_ranks(self.max_ranks)
        size = self.model.batch_plan.samples_a_rank_computes
        together = self.model.batch_augmentation.sub_batches_together
        return ranks_for(
            batch_size,
            samples_per_rank=self.samples_per_rank,
            min_ranks=min(self.min_ranks, most),
            max_ranks=most,
            step=lambda ranks: ranks * size * together(ranks),
        )

    def _batch_size_of(self, epoch: int) -> int:
        """The batch of the next epoch, which some callbacks set only at its beginning."""
        for callback in self._callbacks:
            if hasattr(callback, "batch_size_of"):
                return callback.batch_size_of(epoch)
        return self.model.batch_size
