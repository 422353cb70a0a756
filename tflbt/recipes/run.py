"""How a recipe trains: alone, or into a run directory with logs and checkpoints, from where these end."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf
from absl import logging

from tflbt import callbacks, data, elastic
from tflbt.distributed import comm, elastic_worker, membership
from tflbt.recipes import parts, sections
from tflbt.recipes.batch import first_plan
from tflbt.recipes.config import default_config
from tflbt.runs import atomic_file
from tflbt.runs.config import as_plain, flatten
from tflbt.runs.run_directory import RunDirectory
from tflbt.training import LargeBatchModel

# What may change between the start of a run, or a search, and its resumption: nothing that the result depends on.
MAY_DIFFER = (
    *("stall_limit", "directions", "checkpoint.every", "checkpoint.keep"),
    *("checkpoint.initial", "checkpoint.keep_epochs"),
    *("checkpoint.every_updates", "checkpoint.every_minutes", "checkpoint.preemption"),
    *("elastic.max_ranks", "elastic.min_ranks", "elastic.samples_per_rank"),
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A recipe made real: everything that `fit` needs.

    Attributes:
        config: The resolved configuration.
        model: The compiled model.
        train: Training images (or names of their files) and labels, as loaded.
        test: Held-out images, standardised, and labels; of image files a data set of this rank's share.
        transform: Standardisation and augmentation of training sub-batches; of image files also reading and cropping.
        schedules: The callbacks that set learning rate and batch size.
        monitors: The callbacks that measure, before the schedules change anything.
        rules: What changes or observes every update.
    """

    config: ml_collections.ConfigDict
    model: LargeBatchModel
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray] | tf.data.Dataset
    transform: Any
    schedules: list[tf.keras.callbacks.Callback]
    monitors: list[tf.keras.callbacks.Callback] = dataclasses.field(default_factory=list)
    rules: list[Any] = dataclasses.field(default_factory=list)

    def fit(
        self,
        more_callbacks: Iterable[tf.keras.callbacks.Callback] = (),
        directory: RunDirectory | None = None,
        *,
        resume: bool = False,
        start_over: bool = False,
        verbose: int = 1,
    ) -> tf.keras.callbacks.History | None:
        """Trains as the recipe says, with logs and checkpoints in a directory of `claim`; all ranks call it alike.

        Args:
            more_callbacks: Such as may end the training early; checkpoints keep the state of those that have one, and
                one that says `over` after that is restored ends the training before it begins.
            directory: Where metrics, checkpoints and TensorBoard's files go; default None: nothing is written.
            resume: Go on where the newest good checkpoint ends, if there is one.
            start_over: Whether `resume` may begin anew, with a warning, where epochs were trained and their checkpoints
                are gone; default False.
            verbose: 1 (default) shows bars and a line per epoch, 0 nothing.

        Returns:
            Keras's History of the epochs trained now; None if there were none left.

        Raises:
            FloatingPointError: If the loss is NaN or infinite.
            RestartNeeded: If the run is to go on in another job: with as many ranks as `config.elastic` wants, or after
                a signal.
            ValueError: If `resume` would throw epochs away.
        """
        more_callbacks = [*more_callbacks]
        if directory is None:
            return self._fit(more_callbacks)
        folder, stateful = directory.checkpoints, [*self.schedules, *more_callbacks]
        checkpoint = sections.build(self.config, "checkpoint", directory=folder, callbacks=stateful)
        finished = checkpoint.resume(self.model) if resume else 0
        checkpoint.ended_itself = (
            False  # `over` says it of this run; a search may have stopped it for a while
        )
        if resume and verbose and comm.is_chief():
            epochs = f"{finished} of {self.config.epochs} epochs"
            place = self.model.update_state.position
            inside = f" and {place.updates} updates of the next" if place else ""
            print(f"resume: {epochs}{inside} are done in {directory.path}", flush=True)
        over = any(getattr(callback, "over", False) for callback in more_callbacks)
        if finished >= self.config.epochs or over:
            return None
        if not finished and not elastic_worker.is_standby():  # which may be here before rank 0
            comm.on_chief(
                lambda: _begin_checkpoints(directory, resume, checkpoint.every, start_over),
                "tflbt.checkpoint.begin",
            )
        for monitor in self.monitors:
            if isinstance(monitor, callbacks.DistanceMonitor):
                monitor.write_into(directory)
        ratios, account = callbacks.TrustRatioMonitor(), callbacks.TimeAccount()
        measuring = (*self.monitors, *self.schedules, ratios, account)
        sources = [source for source in measuring if hasattr(source, "epoch_columns")]
        log = callbacks.RunLog(directory, sources, verbose)
        watching = [callbacks.NonFiniteLoss(), ratios, account, log, *more_callbacks]
        if not membership.elastic():  # there the ranks come and go in one job
            growing = sections.build(self.config, "elastic")
            watching += [] if growing is None else [growing]
        watching.append(checkpoint)
        try:
            return self._fit(watching, finished, checkpoint.batch_size)
        except FloatingPointError:
            log.diverged()
            raise

    def _wanted_ranks(self) -> dict[str, int]:
        """The options of the section `elastic`, where it is on; the launcher's limit counts otherwise."""
        section = self.config.elastic
        keys = ("samples_per_rank", "min_ranks", "max_ranks")
        return {} if section.max_ranks == 1 else {key: section[key] for key in keys}

    def _fit(
        self,
        more_callbacks: list[tf.keras.callbacks.Callback],
        initial_epoch: int = 0,
        batch_size: int | None = None,
    ) -> tf.keras.callbacks.History:
        """Trains from an epoch on; a resumed run begins with the batch size that it had reached."""
        config = self.config
        fit: Any = self.model.fit
        if membership.elastic():
            if config.sub_batch_size is None and config.elastic.max_ranks == 1:
                raise ValueError(
                    "sub_batch_size=None would change with the number of ranks: under launch/elastic.sh give a number."
                )
            fit = functools.partial(elastic.fit, self.model, **self._wanted_ranks())
        with data.unreadable_named():
            return fit(
                *self.train,
                batch_size=batch_size or config.batch_size,
                # It computes on as many samples at a time as it did before.
                sub_batch_size=first_plan(config).samples_a_rank_computes,
                epochs=config.epochs,
                initial_epoch=initial_epoch,
                verbose=0,
                callbacks=[*self.monitors, *self.schedules, *more_callbacks],
                validation_data=self.test,
                seed=config.seed,
                tail=config.tail,
                transform=self.transform,
                rules=self.rules,
                stall_limit=config.stall_limit,
            )


def claim(path: str | os.PathLike[str], config: Any, resume: bool) -> RunDirectory:
    """Makes the directory of a new run, or opens that of the one to resume; every rank must call it alike.

    Keys that the version that began the run did not have yet may be at their defaults, which do as it did.
    """
    if elastic_worker.is_standby():  # the run is under way
        return RunDirectory(path)

    def claimed() -> RunDirectory:
        if resume:
            new = new_defaults(RunDirectory(path).hyper_parameters, config)
            return RunDirectory.open(path, config, {*MAY_DIFFER, *new})
        return RunDirectory.create(path, config)

    return comm.on_chief(claimed, "tflbt.run_directory")


def _begin_checkpoints(directory: RunDirectory, resume: bool, every: int, start_over: bool) -> None:
    """Makes the folder of checkpoints, so that it is there before the first epoch is.

    A kill can leave a row without a checkpoint, but no row without the folder.

    Raises:
        ValueError: If the run has finished epochs whose checkpoints somebody removed: to begin anew drops their rows.
    """
    rows = len(directory.metrics.read()) if resume else 0
    every = min(every, directory.hyper_parameters.get("checkpoint.every") or every)
    if rows > every or (rows and not directory.checkpoints.is_dir()):
        lost = f"{directory.metrics_csv} has {rows} epoch(s), but {directory.checkpoints} has no checkpoint of them"
        if not start_over:
            raise ValueError(
                f"{lost}: to start over would throw them away. Restore the checkpoints from a copy, or give another "
                "--workdir for a new run."
            )
        logging.warning("%s: it starts over.", lost)
    with atomic_file.naming(directory.checkpoints, "cannot make the folder"):
        directory.checkpoints.mkdir(parents=True, exist_ok=True)


def new_defaults(before: Mapping[str, Any], config: ml_collections.ConfigDict) -> set[str]:
    """The dotted keys of a recipe that an earlier version's configuration lacks and that have their defaults."""
    default = default_config()
    for kind in parts.KINDS:
        if config[kind].get("name"):
            default[kind] = {"name": config[kind].name}
    defaults = flatten(as_plain(default))
    now = flatten(as_plain(config))
    return {
        key
        for key, value in now.items()
        if key not in before and key in defaults and defaults[key] == value
    }
