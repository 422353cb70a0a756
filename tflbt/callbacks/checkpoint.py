"""`Checkpoint`: checkpoints that include callbacks' state, so that a resumed run equals an uninterrupted one."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging

from tflbt import checks
from tflbt.callbacks.states import within_epoch
from tflbt.callbacks.states.callback_states import CallbackStates
from tflbt.control.progress import Progress
from tflbt.distributed import comm, restart
from tflbt.runs import received
from tflbt.training import keras_internals
from tflbt.training.checkpoint import Checkpoints, restore_together, write_together
from tflbt.training.interruption.position import Position


@checks.arguments
class Checkpoint(tf.keras.callbacks.Callback):
    """Writes a checkpoint every few epochs and after the last one; `resume` continues from the newest intact one.

    It saves the weights, the optimizer, the batch size, the samples seen, those carried over into the next epoch, how
    many epochs have drawn their randomness, and the state of all callbacks of the `fit`: what their `state()` returns,
    and of callbacks without that, such as Keras's EarlyStopping and ReduceLROnPlateau, the attributes that training
    changes (numbers, strings, arrays, variables, collections of these). A change that cannot be kept, in an open file
    for example or in a variable that a lambda callback uses, is named in a warning.
    Place it last among the callbacks. Under Horovod every rank must run it; the chief writes the state of its
    callbacks, and a write that fails raises OSError on all ranks.

    A `LargeBatchModel` that trains on whole arrays can be saved inside an epoch too, every few updates or minutes and
    where a signal announces the end: with `preemption`, SIGTERM or SIGUSR1 on any rank lets all ranks finish the
    running update, write a checkpoint and end by `tflbt.distributed.restart.RestartNeeded`, a SystemExit with status
    76, which asks to be started again; a second signal, 5 s later, ends at once. `resume` and `fit` then go on with the
    next sample, on as many ranks bit for bit. A callback of your own that gathers something over an epoch and has a
    `state()` gives it by `epoch_state()` and takes it by `restore_epoch(state)`. With other data a signal ends the
    training without a checkpoint of the running epoch.

    A run that a callback had ended early (`stop_training`) is over when it is resumed, too: `ended_itself` is True, and
    `LargeBatchModel.fit` trains no epoch until you set it to False. In plain Keras, look at it before you call `fit`.

    Args:
        directory: Where to write the checkpoints.
        callbacks: Callbacks whose state must not be missing when the run goes on. Those of the `fit` are saved in any
            case; the ones that are named here and have a `restore(state)` get their state already from `resume`. Of
            those with an `epoch_to_keep` the checkpoint of that epoch, from 1, is written and stays.
        every: Epochs between checkpoints, at least 1, default 1.
        keep: How many of the newest checkpoints to keep, at least 1, default 2.
        initial: Whether to write one of the weights before the first update too, as epoch 0, which stays: distances and
            landscapes begin there. Default False.
        keep_epochs: Epochs, increasing, whose checkpoints are written and stay, whatever `every` and `keep` are;
            default (): none.
        every_updates: Updates between checkpoints inside epochs, at least 1; default None: none are written there. Only
            the newest of them is kept.
        every_minutes: Minutes between them, more than 0, by the chief's clock; default None.
        preemption: Whether SIGTERM and SIGUSR1 end the training in order; default False.

    Raises:
        ValueError: If an argument is out of its range; at the start of `fit`, if a checkpoint that was resumed holds a
            state that matches none of its callbacks.
        FileExistsError: At the start of `fit`, if the directory holds checkpoints of another run and `resume` was not
            called.
        OSError: At an epoch's end, if the checkpoint cannot be written; earlier ones are intact.

    Example:
        >>> import tempfile
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,))])
        >>> model.compile("sgd", "mse")
        >>> checkpoint = Checkpoint(tempfile.mkdtemp())
        >>> x, y = tf.ones([8, 2]), tf.ones([8, 1])
        >>> _ = model.fit(x, y, epochs=2, verbose=0, initial_epoch=checkpoint.resume(model), callbacks=[checkpoint])
        >>> checkpoint.resume(model)
        2
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        callbacks: Iterable[tf.keras.callbacks.Callback] = (),
        every: int = 1,
        keep: int = 2,
        initial: bool = False,
        keep_epochs: Iterable[int] = (),
        every_updates: int | None = None,
        every_minutes: float | None = None,
        preemption: bool = False,
    ) -> None:
        super().__init__()
        checks.whole("every", every, at_least=1)
        keep_epochs = tuple(keep_epochs)
        if keep_epochs:
            hint = "; the weights before the first update are initial=True"
            checks.increasing("keep_epochs", keep_epochs, whole=True, hint=hint)
        if every_updates is not None:
            checks.whole("every_updates", every_updates, at_least=1)
        if every_minutes is not None:
            checks.number("every_minutes", every_minutes, more_than=0)
        stay = (0, *keep_epochs) if initial else keep_epochs
        self.checkpoints = Checkpoints(received.place(directory), keep, stay)
        self.initial = initial
        self.every, self.every_updates, self.every_minutes = every, every_updates, every_minutes
        self.preemption = preemption
        self.batch_size: int | None = None  # that the restored run had reached
        self.ended_itself = False  # whether the restored run had ended itself
        self._resumed = False  # since the last `fit`
        self._ours = False  # whether the checkpoints in the directory belong to this run
        callbacks = list(callbacks)
        self._keepers = [each for each in callbacks if hasattr(each, "epoch_to_keep")]
        self._states = CallbackStates(callbacks)
        self._others: list[Any] = []  # the callbacks of the fit
        self._epoch_states: dict[str, Any] = {}  # of callbacks, for the epoch that goes on

    @property
    def directory(self) -> Path:
        """Where the checkpoints are written."""
        return self.checkpoints.directory

    @property
    def interrupts(self) -> bool:
        """Whether a `fit` may be saved or ended between two updates."""
        return self.preemption or (self.every_updates, self.every_minutes) != (None, None)

    def resume(self, model: tf.keras.Model, without: Collection[str] = ()) -> int:
        """Restores the newest intact checkpoint, if any, into a built, compiled model and the callbacks.

        Callbacks get their state here if they were given to the constructor and have a `restore(state)`, otherwise when
        `fit` begins.

        Args:
            model: The model that is to go on.
            without: Names of callbacks' classes whose state to leave out, default none: they begin anew, or are gone.

        Returns:
            The number of finished epochs, for `fit(initial_epoch=...)`; 0 if there is no checkpoint. Where it was
            written inside an epoch, that `fit` goes on inside it.

        Raises:
            ValueError: If the checkpoint belongs to another model or optimizer, or all of them are damaged, or it was
                written inside an epoch and the model is no LargeBatchModel.
        """
        state = restore_together(self.checkpoints, model)
        self._ours = True
        if state is None:
            return 0
        self._resumed = True
        try:
            return self._restore(model, state, without)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.checkpoints.directory}: the state in the newest checkpoint is not what was written "
                f"({type(error).__name__}: {error}): restore it from a copy."
            ) from error

    def _restore(
        self, model: tf.keras.Model, state: Mapping[str, Any], without: Collection[str]
    ) -> int:
        """Gives callbacks and model their state; returns the number of finished epochs."""
        self._states.restore(state["callbacks"], state.get("attributes"), without)
        epochs = int(state["epochs"])
        if state.get("samples_seen") is not None:
            model.samples_seen = state["samples_seen"]
            progress = state.get("progress") or {"drawn": epochs, "finished": epochs}
            model.update_state.progress = Progress(**progress)
        if "within" in state:
            self._go_on_inside(model, state)
        self.batch_size = state.get("batch_size")
        self.ended_itself = state.get("stopped", False)
        return epochs

    def claim(self) -> None:
        """Says that the checkpoints are of a run that goes on here, with a state that comes from another rank."""
        self._ours, self._resumed, self.ended_itself = True, False, False
        self._states.forget()

    def _go_on_inside(self, model: tf.keras.Model, state: Mapping[str, Any]) -> None:
        """Has the next `fit` begin inside an epoch."""
        if not hasattr(model, "update_state"):
            raise ValueError(
                f"The checkpoint was written inside epoch {state['epochs'] + 1} of a LargeBatchModel, and "
                f"{type(model).__name__} can only begin an epoch: use tflbt.LargeBatchModel.from_model(model)."
            )
        self._epoch_states = state["within"].pop("callbacks")
        model.update_state.position = Position(**state["within"], rules=state.get("rules", {}))

    def set_model(self, model: tf.keras.Model) -> None:
        """Takes the model, and steps behind the callbacks whose epoch must end before a checkpoint is written."""
        super().set_model(model)
        calling = keras_internals.calling_list(self)
        if calling is None:
            return
        last = self._states.last_required(calling.callbacks)
        place = calling.callbacks.index(self)
        if last > place:  # another list: Keras is walking along this one
            order = calling.callbacks
            calling.callbacks = [
                *order[:place],
                *order[place + 1 : last + 1],
                self,
                *order[last + 1 :],
            ]
        self._look_around(calling)

    def _look_around(self, calling: Any) -> None:
        """Finds the other callbacks of the `fit`."""
        place = calling.callbacks.index(self)
        self._others = [each for each in calling.callbacks if each is not self]
        self._states.of_fit(calling.callbacks[:place], calling.callbacks[place + 1 :])

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Restores callbacks; raises on every rank if the directory or a state does not belong to this run."""
        reduction = comm.reduction_of(self.model)
        if self.interrupts and not hasattr(self.model, "update_state"):
            raise ValueError(
                f"every_updates={self.every_updates}, every_minutes={self.every_minutes} and preemption="
                f"{self.preemption} need a model that can be saved inside an epoch, which {type(self.model).__name__} "
                "cannot: use tflbt.LargeBatchModel.from_model(model), or leave them out."
            )
        if not self._ours:
            comm.on_chief(self._require_empty, "tflbt.checkpoint.directory", reduction)
        self._ours = True
        if reduction.rank == 0:
            restart.forget(self.directory)
        if (calling := keras_internals.calling_list(self)) is not None:
            self._look_around(calling)
        self._states.begin(self.model)
        if self._resumed:
            comm.on_chief(self._states.require_all_restored, "tflbt.checkpoint.states", reduction)
        self._states.forget()
        self._resumed = False
        if self.ended_itself and comm.is_chief():
            logging.warning(
                "The run that this fit goes on with had ended itself (stop_training, which EarlyStopping sets). "
                "LargeBatchModel.fit trains no further epoch, plain Keras's fit does; set checkpoint.ended_itself = "
                "False to train on."
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the weights before the first update, if that is wanted. The run is not over, or no longer."""
        self.ended_itself = False
        if epoch == 0 and self.initial and not within_epoch.goes_on_inside(self.model):
            write_together(self.checkpoints, self.model, 0, self._state())

    def _require_empty(self) -> None:
        """Raises if there are checkpoints."""
        found = self.checkpoints.found()
        if found:
            raise FileExistsError(
                errno.EEXIST,
                f"this holds checkpoints of another run, up to {found[-1].name}: call resume(model) before fit to go "
                "on from them, or give Checkpoint another directory",
                str(self.checkpoints.directory),
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes a checkpoint, if it is due or this is the last epoch."""
        last = epoch + 1 == self.params.get("epochs") or self.model.stop_training
        interruption = self._interruption()
        leaves = interruption is not None and interruption.leaves_after_epoch()
        best = {keeper.epoch_to_keep for keeper in self._keepers} - {None}
        wanted = leaves or epoch + 1 in {*self.checkpoints.keep_epochs, *best}
        if (epoch + 1) % self.every == 0 or wanted or last:
            write_together(self.checkpoints, self.model, epoch + 1, self._state(), best)
            if interruption is not None:
                interruption.saved()

    def save_within_epoch(self, position: Position) -> None:
        """Writes a checkpoint inside an epoch, between two updates; every rank calls it."""
        callbacks = within_epoch.states(self._others)
        state = {**self._state(), "within": {**position.state(), "callbacks": callbacks}}
        write_together(
            self.checkpoints, self.model, position.epoch, state, updates=position.updates
        )

    def restore_within_epoch(self) -> None:
        """Restores what callbacks know of an epoch that goes on, after their `on_epoch_begin`."""
        self._states.again(self.model)
        within_epoch.restore(self._others, self._epoch_states)
        self._epoch_states = {}

    def _interruption(self) -> Any:
        """What may end or save the `fit` that runs; None in plain Keras."""
        return getattr(getattr(self.model, "update_state", None), "interruption", None)

    def _state(self) -> dict[str, Any]:
        """What a checkpoint holds besides weights and slots."""
        is_chief = comm.reduction_of(self.model).rank == 0
        return {
            "callbacks": self._states.own_state(),
            "attributes": self._states.plain_state(self.model) if is_chief else {},
            "samples_seen": getattr(self.model, "samples_seen", None),
            "progress": self._progress(),
            "batch_size": self._next_batch_size(),
            "stopped": bool(self.model.stop_training),
        }

    def _next_batch_size(self) -> int | None:
        """The batch that the next `fit` begins with: where it has other ranks, that for which they were chosen."""
        state = getattr(self.model, "update_state", None)
        wanted = None if state is None else state.wanted_ranks
        return getattr(self.model, "batch_size", None) if wanted is None else wanted.batch_size

    def _progress(self) -> dict[str, int] | None:
        """How many epochs have drawn their randomness, and the samples carried over; None in plain Keras."""
        state = getattr(self.model, "update_state", None)
        return None if state is None else dataclasses.asdict(state.progress)
