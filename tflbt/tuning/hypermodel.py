"""Trains a KerasTuner hypermodel with a trial's values, with checkpoints, and resumes from them."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_tuner
import tensorflow as tf
from absl import logging

from tflbt import checks
from tflbt.callbacks import Checkpoint, NonFiniteLoss, RunLog
from tflbt.data import forms
from tflbt.distributed import comm
from tflbt.report import RunDirectory
from tflbt.training import LargeBatchModel, agreement
from tflbt.tuning.hypermodel_space import as_hypermodel
from tflbt.tuning.keras_state import KerasState
from tflbt.tuning.trial import Trial


@checks.arguments
class HyperModelTrainer:
    """Builds and trains a KerasTuner hypermodel with a trial's values: an argument of `Search.run`.

    Each trial gets `trials/NNNN/` as a run directory: `metrics.csv`, TensorBoard's events, and a checkpoint after every
    epoch. A search that was killed continues there in mid-trial with `Search(resume=True)`. A `LargeBatchModel` with
    whole arrays then trains as if it had not been killed, to the last bit; so does a plain Keras model with
    `shuffle=False` and without dropout, else with other random numbers. Checkpoints keep the state of callbacks, as
    `tflbt.callbacks.Checkpoint` says.

    Under several ranks the model must be a `tflbt.LargeBatchModel`. In one process, or with `ranks_per_trial=1`, it may
    be any `tf.keras.Model`.

    Args:
        hypermodel: A `keras_tuner.HyperModel`, or a function `hp -> model`. The model must be compiled. A `fit` of its
            own must train by `model.fit` and pass the keyword arguments that it gets on to it.
        *fit_args: For the hypermodel's `fit`, such as the samples x and y.
        seed: Of each trial's weights, order of samples and random layers, at least 0, default 0; the same for all
            trials. A hypermodel with its own `fit` passes a seed to LargeBatchModel's `fit` itself.
        **fit_kwargs: Likewise, such as `epochs`, `validation_data`, `batch_size`. `callbacks` are copied for each
            trial. Without `verbose` nothing is shown; without `epochs` Hyperband's number is taken.

    Raises:
        ValueError: If the hypermodel is neither, the seed is not valid, or a callback cannot be copied.

    Example:
        >>> import tempfile
        >>> from tflbt.tuning import Search, space_of
        >>> def build(hp):
        ...     model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(1,))])
        ...     model.compile(tf.keras.optimizers.SGD(hp.Choice("learning_rate", [0.1, 0.01])), "mse")
        ...     return model
        >>> trainer = HyperModelTrainer(build, tf.ones([8, 1]), tf.ones([8, 1]), epochs=3)
        >>> search = Search(tempfile.mkdtemp(), space_of(build), "loss", tuner="GridSearch", verbose=0)
        >>> best = search.run(trainer)
        >>> best.values
        {'learning_rate': 0.1}
        >>> model = trainer.build(best.values)  # to train it once more
    """

    def __init__(self, hypermodel: Any, *fit_args: Any, seed: int = 0, **fit_kwargs: Any) -> None:
        checks.whole("seed", seed, at_least=0)
        self.hypermodel = as_hypermodel(hypermodel)
        self.seed = seed
        self._callbacks = _copies(fit_kwargs.pop("callbacks", None))
        self._fit_args, self._fit_kwargs = fit_args, fit_kwargs
        self._has_warned = False

    def __call__(self, trial: Trial, folder: Path, callbacks: list[Any]) -> None:
        """Trains into a run directory, or continues an existing one; see `tflbt.tuning.Search.run`."""
        directory = self._claim(folder, trial.values)
        hp = _filled(self.hypermodel, trial.values)
        model = self._build(hp)
        own = self._own_callbacks(trial)
        keras_state = KerasState()
        checkpoint = Checkpoint(directory.checkpoints, [*own, keras_state, *callbacks])
        if not model.built and _holds_any(checkpoint):
            self._make_weights(model)
        keras_state.first_epoch = checkpoint.resume(model)
        checkpoint.ended_itself = (
            False  # `over` says it of this trial; a search may have stopped it for a while
        )
        if any(getattr(callback, "over", False) for callback in (keras_state, *callbacks)):
            return
        sources = [callback for callback in own if hasattr(callback, "epoch_columns")]
        log = RunLog(directory, sources, verbose=0)
        watching = [NonFiniteLoss(), *own, keras_state, log, *callbacks, checkpoint]
        batch_size = checkpoint.batch_size  # as callbacks had changed it
        if batch_size is not None:
            set_size = tf.keras.callbacks.LambdaCallback(
                on_train_begin=lambda logs: setattr(model, "batch_size", batch_size)
            )
            watching.insert(0, set_size)
        try:
            self.hypermodel.fit(
                hp,
                model,
                *self._fit_args,
                callbacks=watching,
                initial_epoch=keras_state.first_epoch,
                **self._arguments(trial, model),
            )
        except FloatingPointError:
            log.diverged()
            raise
        if not (keras_state.began or keras_state.first_epoch):
            raise ValueError(
                "hypermodel.fit trained no epoch with the callbacks that it got: it must pass its keyword "
                "arguments on to model.fit."
            )
        self._warn_of_unsearched(hp, trial)

    def build(self, values: Mapping[str, Any]) -> tf.keras.Model:
        """Returns a new, compiled model with a trial's or a result's values and the weights that a trial begins with.

        Raises:
            ValueError: If the hypermodel returns no model that these ranks can train.
        """
        return self._build(_filled(self.hypermodel, values))

    def _build(self, hp: keras_tuner.HyperParameters) -> tf.keras.Model:
        """Returns a new model whose random numbers depend only on the seed."""
        # Dropout that LargeBatchModel can seed for each epoch, so that a resumed trial draws the same numbers.
        tf.keras.backend.experimental.enable_tf_random_generator()
        tf.keras.utils.set_random_seed(self.seed)
        model = self.hypermodel.build(hp)
        if not isinstance(model, tf.keras.Model) or not getattr(model, "optimizer", None):
            raise ValueError(f"hypermodel.build gave {model!r}: it must return a compiled model.")
        if comm.size() > 1 and not isinstance(model, LargeBatchModel):
            raise ValueError(
                f"hypermodel.build gave a plain {type(model).__name__}, which {comm.size()} ranks would train apart: "
                "return tflbt.LargeBatchModel.from_model(model), compiled, or search with ranks_per_trial=1."
            )
        return model

    def _claim(self, folder: Path, values: Mapping[str, Any]) -> RunDirectory:
        """Returns the run directory of a trial, created or opened again."""
        # Hyperband's own values differ between a trial and the trial that continues it.
        searched = {key: values[key] for key in values if not key.startswith("tuner/")}

        def claim() -> RunDirectory:
            exists = (folder / "config.json").exists()
            make = RunDirectory.open if exists else RunDirectory.create
            return make(folder, {"seed": self.seed, "values": searched})

        return comm.on_chief(claim, "tflbt.tuning.run_directory")

    def _own_callbacks(self, trial: Trial) -> list[Any]:
        """Returns the user's callbacks, copied for this trial."""
        own = _copies(self._callbacks)
        for callback in own:
            if isinstance(callback, tf.keras.callbacks.TensorBoard):
                callback.log_dir = os.path.join(callback.log_dir, trial.name)  # as KerasTuner does
        return own

    def _arguments(self, trial: Trial, model: tf.keras.Model) -> dict[str, Any]:
        """Returns the keyword arguments of the hypermodel's `fit`; only the user's if that `fit` is the user's own."""
        arguments = self._fit_kwargs
        if trial.epochs is not None and arguments.get("epochs", trial.epochs) < trial.epochs:
            raise ValueError(
                f"epochs={arguments['epochs']} are fewer than the {trial.epochs} of the tuner: give "
                "HyperModelTrainer as many as Search."
            )
        if type(self.hypermodel).fit is not keras_tuner.HyperModel.fit:
            return arguments
        epochs = {} if trial.epochs is None else {"epochs": trial.epochs}
        seed = {"seed": self.seed} if isinstance(model, LargeBatchModel) else {}
        return {"verbose": 0, **epochs, **seed, **arguments}

    def _make_weights(self, model: tf.keras.Model) -> None:
        """Builds a model that has no weights before its first batch, so that a checkpoint can be restored."""
        x, y, *_ = (*self._fit_args, None, None)
        x, y = self._fit_kwargs.get("x", x), self._fit_kwargs.get("y", y)
        if x is None or not (forms.is_arrays(x) or isinstance(x, tf.data.Dataset)):
            raise ValueError(
                f"model={model.name!r} is not built, so its checkpoint cannot be restored: give its first layer an "
                "input_shape."
            )
        if forms.is_arrays(x):
            x = tf.data.Dataset.from_tensor_slices(forms.pack(x, y, None)).batch(1)
        agreement.build(model, x.element_spec)

    def _warn_of_unsearched(self, hp: keras_tuner.HyperParameters, trial: Trial) -> None:
        """Warns once of hyper-parameters that no trial varies."""
        missing = sorted(set(hp.values) - set(trial.values)) if trial.number else []
        if missing and not self._has_warned and comm.is_chief():
            logging.warning(
                "%s: not in the space, so all trials have the default; declare it in declare_hyperparameters to search "
                "it, or in hypermodel.build.",
                ", ".join(missing),
            )
        self._has_warned = self._has_warned or bool(missing)


def _filled(
    hypermodel: keras_tuner.HyperModel, values: Mapping[str, Any]
) -> keras_tuner.HyperParameters:
    """Returns hyper-parameters that take these values as they are declared, or else their defaults."""
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    hypermodel.declare_hyperparameters(hp)
    return hp


def _holds_any(checkpoint: Checkpoint) -> bool:
    """Whether there is a checkpoint to continue from; every rank gets the chief's answer."""
    return comm.on_chief(lambda: bool(checkpoint.checkpoints.found()), "tflbt.tuning.holds_any")


def _copies(callbacks: Any) -> list[Any]:
    """Returns copies of callbacks: one, several, or None."""
    try:
        return copy.deepcopy(tf.nest.flatten([] if callbacks is None else callbacks))
    except Exception as error:
        raise ValueError(
            f"callbacks={callbacks!r} cannot be copied ({error}), but each trial needs new ones."
        ) from error
