"""All that a rank which joins, or which goes back to the last finished epoch, needs of a training: in host memory."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np

from tflbt.callbacks.states.callback_states import CallbackStates
from tflbt.control.progress import Progress
from tflbt.training import agreement


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A training between two epochs: what a checkpoint holds, and the history."""

    epochs: int  # finished
    weights: list[np.ndarray] | None
    optimizer: list[np.ndarray] | None
    rest: bytes  # pickled, so that nothing in it changes any more

    @property
    def light(self) -> Snapshot:
        """The same without weights and the optimizer's variables, which `fit` shares itself."""
        return dataclasses.replace(self, weights=None, optimizer=None)

    @property
    def batch_size(self) -> int:
        """Samples per update over all ranks."""
        return pickle.loads(self.rest)["batch_size"]

    @property
    def history(self) -> dict[int, dict[str, Any]]:
        """What Keras's History has, by epoch."""
        return pickle.loads(self.rest)["history"]


def take_snapshot(
    model: Any,
    states: CallbackStates,
    epochs: int,
    history: dict[int, dict[str, Any]],
    position: Any = None,
) -> Snapshot:
    """Copies a training that has finished some epochs; `position` is where in the next one it begins."""
    rest = {
        "own": states.own_state(),
        "plain": states.plain_state(model),
        "rules": model.rules.state(),
        "samples_seen": model.samples_seen,
        "progress": dataclasses.asdict(model.update_state.progress),
        "batch_size": model.batch_size,
        "history": history,
        "position": position,
    }
    return Snapshot(
        epochs,
        [variable.numpy() for variable in agreement.variables(model)],
        [variable.numpy() for variable in agreement.optimizer_variables(model.optimizer)],
        pickle.dumps(rest),
    )


def restore(model: Any, states: CallbackStates, snapshot: Snapshot) -> None:
    """Gives a compiled model, and the callbacks of its next `fit`, what a snapshot holds."""
    if snapshot.weights is not None:
        agreement.build_optimizer(model.optimizer, model.trainable_variables)
        variables = [
            *agreement.variables(model),
            *agreement.optimizer_variables(model.optimizer),
        ]
        for variable, value in zip(variables, [*snapshot.weights, *(snapshot.optimizer or ())]):
            variable.assign(value)
    rest = pickle.loads(snapshot.rest)
    states.restore(rest["own"], rest["plain"])
    model.restore_rules(rest["rules"])
    model.samples_seen = rest["samples_seen"]
    model.update_state.progress = Progress(**rest["progress"])
    model.update_state.position = rest["position"]
