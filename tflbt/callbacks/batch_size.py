"""The base of callbacks that change the batch size inside one `fit`, and the learning rate with it."""

from __future__ import annotations

from typing import Any

from absl import logging

from tflbt.callbacks.learning_rate import LearningRateFactor
from tflbt.distributed import comm


class BatchSizeFactor(LearningRateFactor):
    """A callback that sets `model.batch_size`, up to `max_batch_size`, and owns a factor of the learning rate."""

    max_batch_size: int

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Raises ValueError unless the model can change its batch size."""
        if not hasattr(self.model, "batch_plan"):
            raise ValueError(
                f"{type(self).__name__} changes the batch size inside fit, which {type(self.model).__name__} cannot: "
                "use tflbt.LargeBatchModel.from_model(model)."
            )
        super().on_train_begin(logs)

    @property
    def step(self) -> int:
        """Every batch must be a multiple of this: ranks x sub-batch size x sub-batches that belong together."""
        plan = self.model.batch_plan
        together = self.model.batch_augmentation.sub_batches_together(plan.ranks)
        return plan.ranks * plan.samples_a_rank_computes * together

    def largest(self) -> int:
        """The largest batch: `max_batch_size`, but at most the data set, if its size is known."""
        steps, plan = self.params.get("steps"), self.model.batch_plan
        tail = self.model.update_state.tail
        whole = (steps or 0) * plan.ranks * plan.samples_a_rank_computes
        if tail is not None and tail.kind != "update":  # an epoch must fill the batch
            whole = tail.largest // tail.step * plan.ranks * plan.samples_a_rank_computes
        if not whole or self.max_batch_size <= whole:
            return self.max_batch_size
        self.log(
            f"max_batch_size={self.max_batch_size} is more than the data set: the batch grows to at most {whole}, one "
            "update an epoch"
        )
        return max(whole, self.model.batch_size)

    def log(self, what: str) -> None:
        """Logs on every rank, to show that all of them decided alike."""
        logging.info("rank %d: %s, %s", comm.rank(), self.owner.replace("_", " "), what)
