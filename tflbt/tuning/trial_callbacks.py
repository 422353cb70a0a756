"""Callbacks of a trial: they record its objective, end it, and check that all its ranks are there."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from absl import logging

from tflbt import checks
from tflbt.control.median_stopping import MedianStopping
from tflbt.distributed import comm
from tflbt.tuning.trial import Trial, best_epoch


class AnotherRankFailedError(RuntimeError):
    """Ends a trial on the ranks where nothing went wrong."""


class WatchTrial(tf.keras.callbacks.Callback):
    """Records the objective of every epoch, those of earlier attempts included, and ends a trial that is over.

    An epoch without the objective, which may be measured in some only, counts as NaN; a trial that ends without any
    has failed. It is over at its last epoch, or as hopeless when the rule says so of the objectives so far. Place the
    callback before `Checkpoint`, and pass it to that as one of the callbacks whose state to keep.
    """

    def __init__(
        self,
        trial: Trial,
        objective: str,
        rule: MedianStopping | None = None,
        direction: str | None = None,  # "max" or "min", to keep the checkpoint of the best epoch
    ) -> None:
        super().__init__()
        self.trial = trial
        self.objective = objective
        self.rule = rule
        self.direction = direction
        self.history: list[float] = []
        self.hopeless = False

    @property
    def over(self) -> bool:
        """Whether nothing is left to train, as known after `restore`."""
        limit = self.trial.epochs
        return self.hopeless or (limit is not None and len(self.history) >= limit)

    @property
    def epoch_to_keep(self) -> int | None:
        """The epoch, from 1, that first had the best objective, whose checkpoint `Checkpoint` keeps; None without."""
        return best_epoch(self.history, self.direction) if self.direction else None

    def state(self) -> dict[str, Any]:
        """Returns the state for a checkpoint."""
        return {"history": list(self.history), "hopeless": self.hopeless}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes the state of a checkpoint."""
        self.history, self.hopeless = list(state["history"]), state["hopeless"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Records the objective and decides; every rank decides alike."""
        require_every_rank()
        logs = logs or {}
        value = logs.get(self.objective)
        found = math.nan if value is None else checks.single(self.objective, value)
        self.history = [*self.history[:epoch], found]
        if value is None and all(map(math.isnan, self.history)):
            self._never_yet(epoch, sorted(logs))
        if not self.over and self.rule is not None:
            self.hopeless = self.rule.hopeless(self.history, self.trial.finished)
        if self.over:
            self.model.stop_training = True

    def _never_yet(self, epoch: int, columns: list[str]) -> None:
        """Warns where no epoch had the objective yet, which may be measured in some only; raises if it was the last."""
        text = f"objective={self.objective!r} is not a column of this training's epochs: {', '.join(columns)}."
        was_validated = any(name.startswith("val_") for name in columns)
        is_slip = self.objective.startswith("val_") and was_validated
        if (
            is_slip
            or self.over
            or epoch + 1 >= (getattr(self, "params", None) or {}).get("epochs", 0)
        ):
            raise ValueError(text)
        if not epoch:
            logging.warning("%s It may come in a later one.", text)


def require_every_rank() -> None:
    """Raises AnotherRankFailedError if a rank of this trial only adds zeros to sums (`comm.join`)."""
    present = comm.all_reduce_sum([tf.ones([])], "tflbt.tuning.present")[0]
    if round(float(present)) < comm.size():
        raise AnotherRankFailedError("another rank has failed")
