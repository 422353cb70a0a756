"""`fit` for ranks that come and go: epochs of one training, with whoever is there."""

from __future__ import annotations

import time
from typing import Any

import tensorflow as tf
from absl import logging

from tflbt.callbacks.checkpoint import Checkpoint
from tflbt.callbacks.curvature_probe import CurvatureProbe
from tflbt.callbacks.elastic.elastic_ranks import ElasticRanks
from tflbt.callbacks.states.callback_states import CallbackStates
from tflbt.callbacks.time_account import TimeAccount
from tflbt.control.ranks import check_ranks
from tflbt.data.forms import is_arrays
from tflbt.distributed import comm, elastic_worker, membership
from tflbt.elastic.epoch_ends import Commits, Once, Resizing
from tflbt.elastic.state import Snapshot, restore, take_snapshot
from tflbt.training import LargeBatchModel


def fit(
    model: LargeBatchModel,
    x: Any = None,
    y: Any = None,
    *,
    samples_per_rank: int = 256,
    min_ranks: int = 1,
    max_ranks: int | None = None,
    **arguments: Any,
) -> tf.keras.callbacks.History:
    r"""Trains as `model.fit(x, y, **arguments)`, on as many ranks as the batch wants, which come and go between epochs.

    Under `launch/elastic.sh` the job begins with `min_ranks`; a batch of B samples wants

    $$R = \mathrm{clip}(\lfloor B / b \rfloor, R_{\min}, R_{\max})$$

    ranks, or the next smaller number by which it divides. The launcher starts the processes, which wait until all is
    traced; at the end of an epoch they join, with rank 0's weights and all callbacks' states. The updates are those of
    one rank with the same batches, to float32 rounding (with dropout, of as many ranks). Where a rank dies, rank 0 too,
    the others go back to the last finished epoch and train on. A `tflbt.callbacks.Checkpoint` should be among the
    callbacks: where all ranks are lost the launcher starts them again, from the newest checkpoint.

    Callbacks live on: `epochs` stays the run's, and what they keep survives, as where a run is resumed (their
    `on_train_begin` runs again, and then they get their state back). Without that launcher this is `model.fit`.

    Args:
        model: A compiled `tflbt.LargeBatchModel`.
        x: Whole arrays, or a data set that is the same on every rank, with `shard=True`.
        y: Whole arrays, or None where x yields them.
        samples_per_rank: b, the samples of an update that a rank is to compute, at least 1, default 256 (the paper's).
        min_ranks: The fewest ranks to ask for, at least 1, default 1; after a death there may be fewer for a while.
        max_ranks: The most ranks, at least `min_ranks`; default None: the launcher's `--max-ranks`.
        **arguments: Of `LargeBatchModel.fit`; `sub_batch_size` must be among them.

    Returns:
        Keras's History of all epochs.

    Raises:
        TypeError: If the model is no LargeBatchModel.
        ValueError: If an argument is out of its range; if the ranks could not share out the data anew, or would
            compute on sub-batches of another size; if the model trains on a process set.
        RuntimeError: If the job was started again and has no checkpoint to go on from.

    Source: sections III-B and IV-D of `abs-absa.txt`.

    Example:
        >>> from tflbt import elastic
        >>> inputs = tf.keras.Input([2])
        >>> model = LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
        >>> model.compile("sgd", "mse")
        >>> x, y = tf.ones([32, 2]), tf.ones([32, 1])
        >>> history = elastic.fit(model, x, y, batch_size=8, sub_batch_size=4, epochs=2, verbose=0)
        >>> len(history.epoch)
        2
    """
    if not isinstance(model, LargeBatchModel):
        raise TypeError(
            f"elastic.fit trains a tflbt.LargeBatchModel, and {type(model).__name__} is none: use from_model(model)."
        )
    check_ranks(min_ranks, min_ranks if max_ranks is None else max_ranks, samples_per_rank)
    if arguments.get("sub_batch_size") is None:
        raise ValueError(
            "elastic.fit needs sub_batch_size: without it the samples that a rank computes on at a time would change "
            "with the number of ranks."
        )
    validation = arguments.get("validation_data")
    for name, data in {"x": x, "validation_data": validation}.items():
        if data is None or is_arrays(data) or arguments.get("shard") is True:
            continue
        raise ValueError(
            f"elastic.fit cannot share {name}={type(data).__name__} out anew as ranks come and go: give whole arrays, "
            "or a data set that is the same on every rank, with shard=True."
        )
    if model.reduction.process_set is not None:
        raise ValueError(
            "elastic.fit changes the ranks of the whole job, and this model trains on a process set: leave it out of "
            "hvd.DistributedOptimizer."
        )
    if not membership.elastic():
        return model.fit(x, y, **arguments)
    if any(isinstance(each, ElasticRanks) for each in tf.nest.flatten(arguments.get("callbacks"))):
        raise ValueError(
            "ElasticRanks ends the job for other ranks, which come and go in one job under launch/elastic.sh: leave it "
            "out, and give its numbers to elastic.fit."
        )
    most = elastic_worker.max_ranks()
    most = most if max_ranks is None else min(max_ranks, most)
    wanted = {"samples_per_rank": samples_per_rank, "min_ranks": min(min_ranks, most)}
    session = Session(model, {"x": x, "y": y, **arguments}, {**wanted, "max_ranks": most})
    if elastic_worker.is_standby():
        session.warm_up()
        elastic_worker.wait_for_place()
    elastic_worker.end_with_launcher()
    comm.init()
    return elastic_worker.run(session)


class Session:
    """A training, as `elastic_worker.run` carries it through the coming and going of ranks.

    Args:
        model: The compiled model.
        arguments: Of its `fit`.
        wanted: Of `ranks_that_fit`.
    """

    def __init__(
        self, model: LargeBatchModel, arguments: dict[str, Any], wanted: dict[str, int]
    ) -> None:
        self.model, self.wanted = model, wanted
        self.callbacks = list(tf.nest.flatten(arguments.pop("callbacks", None) or []))
        self.epochs = arguments.pop("epochs", 1)
        self.first_epoch = arguments.pop("initial_epoch", 0)
        self.arguments = arguments
        self.states = CallbackStates(self.callbacks)
        self.saved: Snapshot | None = None
        self.joins = elastic_worker.is_standby()
        self.history: dict[int, dict[str, Any]] = {}
        self.position: Any = None  # inside its first epoch, of a run that was resumed there
        self.paused_at: float | None = None  # since when nothing is trained, as ranks come or go

    def warm_up(self) -> None:
        """Compiles, alone, what the training will run, by an update and a step of validation.

        All that these change is replaced when the process joins.
        """
        arguments = {**self.arguments, "epochs": 1, "verbose": 0, "callbacks": [Once()]}
        if arguments.get("validation_data") is not None or arguments.get("validation_split"):
            arguments["validation_steps"] = 1
        for callback in self.callbacks:
            if isinstance(callback, TimeAccount):
                callback.set_model(self.model)  # its updates are compiled in another way
        self.model.fit(**arguments)
        for callback in self.callbacks:
            probe = getattr(callback, "curvature", None)
            if isinstance(probe, CurvatureProbe):
                probe.warm_up(self.model)

    def restore(self) -> None:
        """Goes back to the last finished epoch."""
        self.paused_at = self.paused_at or time.perf_counter()
        if self.saved is not None:
            restore(self.model, self.states, self.saved)

    def share(self) -> None:
        """Gives ranks that have just met the state of the one that has come furthest; `fit` shares rank 0's weights.

        A process that waited for its place, and finds nobody who has a state, ends.
        """
        self.model.update_state.same.settled = False  # others may have other hardware
        mine = -1 if self.saved is None else self.saved.epochs
        epochs = comm.gather_objects(mine, "tflbt.elastic.epochs")
        best = max(epochs)
        if best < 0:
            if any(comm.gather_objects(self.joins, "tflbt.elastic.joins")):
                logging.error(
                    "No rank has the training's state any more: it goes on from a checkpoint."
                )
                elastic_worker.end_at_once()
            self._resume()
            return
        root = epochs.index(best)
        saved = self.saved
        if comm.size() > 1:
            # Unless it is rank 0's, whose weights `fit` shares.
            sent = saved.light if saved and root == 0 else saved
            found = elastic_worker.broadcast(sent if comm.rank() == root else None, root)
            saved = found if comm.rank() != root else saved
        assert saved is not None
        restore(self.model, self.states, saved.light if comm.rank() == root else saved)
        self.saved, self.history = saved, saved.history
        for callback in self.callbacks:
            if isinstance(callback, Checkpoint):
                callback.claim()

    def _resume(self) -> None:
        """Where the launcher has started the job again, goes on from the newest checkpoint."""
        if not elastic_worker.must_resume() or self.first_epoch:
            return
        found = [each for each in self.callbacks if isinstance(each, Checkpoint)]
        if not found:
            raise RuntimeError(
                "The job has lost all its ranks and was started again, but there is no checkpoint to go on from: put a "
                "tflbt.callbacks.Checkpoint among the callbacks of elastic.fit."
            )
        self.first_epoch = found[0].resume(self.model)
        if found[0].batch_size is not None:
            self.arguments["batch_size"] = found[0].batch_size

    def train(self) -> tf.keras.callbacks.History:
        """Trains to the last epoch, unless ranks come or go before.

        Raises:
            RanksChange: On all ranks alike, at the end of an epoch.
        """
        arguments, first = self.arguments, self.first_epoch
        if self.saved is not None:
            first = self.saved.epochs
            arguments = {**arguments, "batch_size": self.saved.batch_size}
        commits = Commits(self)
        self.position = self.model.update_state.position
        if first < self.epochs:
            self.model.fit(
                **arguments,
                initial_epoch=first,
                epochs=self.epochs,
                callbacks=[Resizing(self), *self.callbacks, commits],
            )
        if commits.ranks_change:
            raise elastic_worker.RanksChange
        history = tf.keras.callbacks.History()
        history.set_model(self.model)
        history.epoch = sorted(self.history)
        history.history = {}
        for epoch in history.epoch:
            for name, value in self.history[epoch].items():
                history.history.setdefault(name, []).append(value)
        self.model.history = history
        return history

    def commit(self, epochs: int) -> None:
        """Notes the training as it is after some epochs."""
        position = self.position if self.saved is None else None
        self.saved = take_snapshot(self.model, self.states, epochs, self.history, position)

    def sizes(self) -> list[int]:
        """The numbers of ranks that fit the batch, up to the one that it wants."""
        plan, together = self.model.batch_plan, self.model.batch_augmentation.sub_batches_together
        assert plan is not None
        size = plan.samples_a_rank_computes
        # One that a callback sets as the next epoch begins counts an epoch later: the ranks meet with this one.
        return ranks_that_fit(plan.batch_size, lambda n: n * size * together(n), **self.wanted)


def ranks_that_fit(
    batch_size: int, step: Any, *, samples_per_rank: int, min_ranks: int, max_ranks: int
) -> list[int]:
    """The numbers of ranks by whose `step` a batch divides, up to the one that it wants; at least [1].

    Example:
        >>> ranks_that_fit(1024, lambda r: 64 * r, samples_per_rank=256, min_ranks=1, max_ranks=8)
        [1, 2, 4]
    """
    most = min(max(batch_size // samples_per_rank, min_ranks), max_ranks)
    return [n for n in range(1, most + 1) if batch_size % step(n) == 0] or [1]
