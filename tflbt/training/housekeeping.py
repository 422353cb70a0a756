"""The callback that every rank runs around the updates of a `fit`, without the user adding it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tflbt.control.progress import Progress
from tflbt.distributed.watchdog import Watchdog
from tflbt.training import tail
from tflbt.training.interruption import position
from tflbt.training.keras_internals import TensorLogs, random_generators
from tflbt.training.ranks import layer_states, same_on_ranks


class Housekeeping(TensorLogs, tf.keras.callbacks.Callback):
    """Sets the number of sub-batches, feeds the watchdog, seeds dropout, averages what layers keep over the ranks.

    Random layers start every epoch from (seed, draw, rank, layer), with the draw of `tflbt.control.progress`, so that a
    resumed run draws what an uninterrupted run would have drawn, and a second `fit` something new. That needs Keras's
    generator-based randomness (`tf.keras.backend.experimental.enable_tf_random_generator()`, which `tflbt.train`
    switches on).
    """

    of_a_single_fit = True  # a list of callbacks may be used again

    def __init__(self, seed: int, watchdog: Watchdog | None, epochs: int = 1) -> None:
        super().__init__()
        self.seed = seed
        self.watchdog = watchdog
        self.epochs = epochs  # the number of the last epoch, as of fit
        self.epoch = self.draw = 0
        self.epochs_begun = 0
        self._samples_before = 0  # this epoch

    def _beat(self, where: str) -> None:
        if self.watchdog is not None:
            self.watchdog.beat(where)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Sets the batch; tells the rules; seeds the random layers, every rank differently."""
        self.epoch = epoch
        self.model.update_state.begin_metrics()
        # Keras begins with 1, and restores what was before when an epoch's last, partial update ends.
        self.model.batch_size = self.model.batch_size
        self.model.update_state.data_may_end.assign(True)
        if (
            self.epochs_begun == 0
        ):  # Keras's BackupAndRestore may have said another than fit's initial_epoch
            self.draw = tail.begin_fit(self.model, epoch, self.epochs)
        self.epochs_begun += 1
        self._samples_before = self.model.samples_seen
        tail.notice(self.model)
        self._beat(f"the start of epoch {epoch + 1}")
        for rule in self.model.rules:
            rule.begin_epoch(epoch)
        for place, generator in enumerate(random_generators(self.model)):
            words = np.random.SeedSequence([self.seed, self.draw, self.model.reduction.rank, place])
            generator.reset_from_seed(int(words.generate_state(1, np.uint64)[0]) >> 1)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Reports an update."""
        # Keras learns the length of such data in the first epoch, rounded up to whole updates. If batch_size is lowered
        # later, updates are left over when the data have ended, and are no reason to stop training.
        if self.epochs_begun > 1 and self.params.get("steps") is None:
            self.model.update_state.data_may_end.assign(False)
        self._beat(f"sub-batch {batch + 1} of epoch {self.epoch + 1}")

    def on_test_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Begins an evaluation, where Keras has reset metrics."""
        self.model.update_state.begin_metrics()

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Reports an evaluation step."""
        self._beat(f"evaluation step {batch + 1} of epoch {self.epoch + 1}")

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Averages moving statistics: all ranks evaluate the same model."""
        layer_states.agree(self.model)
        same_on_ranks.begin(self.model, same_on_ranks.state(self.model, training=False))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Averages moving statistics, counts the epoch: what other callbacks save next is the same on all ranks."""
        layer_states.agree(self.model)
        tail.notice(self.model, self.model.samples_seen - self._samples_before)
        self.draw += 1
        tail.end_epoch(self.model, Progress(self.draw, epoch + 1))
        self._beat(f"epoch {epoch + 1}")


class AfterOthers(TensorLogs, tf.keras.callbacks.Callback):
    """The last callback of every rank: sees what the others did to the model, and whether they end the training."""

    of_a_single_fit = True

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self.left = False
        self.done = 0  # sub-batches of this epoch
        self.steps: int | None = None  # sub-batches of an epoch, once known

    def on_train_begin(self, logs: dict | None = None) -> None:
        """A training begins."""
        self.left, self.steps = False, (getattr(self, "params", None) or {}).get("steps")

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Fingerprints the model, which the epoch's updates compare between ranks; goes on inside the epoch."""
        same_on_ranks.begin(self.model, same_on_ranks.state(self.model))
        state = self.model.update_state
        where, state.position = state.position, None
        if where is not None:
            position.restore(self.model, where)
        if state.interruption is not None:
            state.interruption.begin_epoch(epoch, where)

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Says what this rank wishes."""
        if (interruption := self.model.update_state.interruption) is not None:
            interruption.before_update()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Leaves, where a callback stops the training within an epoch, or it is interrupted."""
        self.done = batch + 1
        if self.model.stop_training and (self.steps is None or self.done < self.steps):
            self._leave()
        elif (interruption := self.model.update_state.interruption) is not None:
            interruption.after_update(self.done, self.steps)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Leaves, where a callback stops the training between epochs."""
        self.steps = self.steps or self.done
        if self.model.stop_training and epoch + 1 < self.epochs:
            self._leave()
        if (interruption := self.model.update_state.interruption) is not None:
            interruption.after_epoch(self.model.stop_training or epoch + 1 >= self.epochs)

    def _leave(self) -> None:
        if not self.left:
            self.left = True
            same_on_ranks.leave(self.model)
