"""A KerasTuner search whose trials are trained by all ranks, or each by a group; it can be resumed after a kill."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras_tuner
import tensorflow as tf
from absl import logging

from tflbt import checks
from tflbt.control.median_stopping import MedianStopping
from tflbt.distributed import comm
from tflbt.runs.journal import Journal
from tflbt.tuning.ledger import Ledger, Result
from tflbt.tuning.left_graphs import settled
from tflbt.tuning.one_trial import (
    exchange_over_all_ranks,
    expecting_traces,
    free_trials,
    run_trial,
)
from tflbt.tuning.oracle import INDEPENDENT, TUNERS, make_oracle
from tflbt.tuning.search_directory import COLUMNS, MAY_DIFFER, SearchDirectory
from tflbt.tuning.study import BASELINE, DONE, WAIT, Study
from tflbt.tuning.trial import FAILED, Outcome, Trial
from tflbt.tuning.trial_callbacks import WatchTrial
from tflbt.tuning.trial_server import TrialServer, connect, exchange_over_server

Train = Callable[[Trial, Path, list[tf.keras.callbacks.Callback]], Any]
STOPPING = ("never", "median")


@checks.arguments
@dataclasses.dataclass
class Search:
    """Tries hyper-parameters that a KerasTuner oracle proposes; every rank must make and run it alike.

    Rank 0 holds the oracle. Each trial is trained by all ranks together, or, with `ranks_per_trial`, by a group of
    neighbouring ranks (a Horovod process set) while other groups train others. The objective is the best over the
    epochs. A trial whose loss is NaN or infinite, or that raises an error on any rank, ends on all its ranks and is
    recorded, and the search continues; after three errors in a row it ends. In a group of several ranks that are not
    all ranks, an error on one rank alone (not NaN, which all see) is recorded and ends the job, because Horovod cannot
    wake the others: start it again with `resume`.

    The same seed and the same ranks give the same trials. A search that was killed at any moment continues with
    `resume`: finished trials are not repeated, running ones continue from their checkpoints if `train` allows it.

    Args:
        directory: For `search.json`, `journal.jsonl`, `trials.csv`, `trials/NNNN/`, `tensorboard/`.
        space: The space to search.
        objective: A column of an epoch's logs, default "val_accuracy".
        direction: "max" or "min"; default None: by the objective's name, if Keras calls a metric or loss so.
        tuner: "RandomSearch" (default), "BayesianOptimization", "Hyperband" or "GridSearch", or an oracle's class.
        tuner_options: More arguments of that oracle.
        max_trials: The largest number of trials; default None: until the tuner has no more (RandomSearch and
            BayesianOptimization, which never end, need a number).
        epochs: Of a full training; Hyperband and early stopping need it.
        seed: Of the tuner, at least 0.
        ranks_per_trial: A divisor of the number of ranks; default None: all. Any other number must first be passed to
            `tflbt.distributed.comm.init_groups`, which returns `group`.
        group: This rank's process set if there are several groups.
        stop_hopeless: "median" ends a trial whose best objective is worse than the median of the finished trials' (see
            `tflbt.control.median_stopping`); "never" (default) does not.
        grace: First epoch after which it may end a trial; default None: a third of `epochs`.
        about: More content for `search.json`; a search is resumed only with equal content.
        resume: Continue the search in `directory`.
        keep_checkpoints: "best" (default) keeps those of the best trial alone, "all" all.
        baseline: Begin with trial 0, without values: the model before tuning, to compare the best with. It does not
            count among `max_trials`. Default False.
        patience: Seconds for which a rank of a group that has ended a trial waits for the group's others.
        write_best: Called on rank 0 with each new best trial and its objective.
        verbose: 1 (default) prints two lines per trial.
        may_differ: The dotted keys of `about` in which a resumed search may differ all the same; default: none.

    Raises:
        ValueError: If an argument is not valid, or the search to resume is another one.
        FileExistsError: If the directory holds a search and `resume` is False.

    Example:
        >>> import tempfile
        >>> space = keras_tuner.HyperParameters()
        >>> _ = space.Float("learning_rate", 0.01, 1.0, sampling="log")
        >>> def train(trial, folder, callbacks):
        ...     model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(1,))])
        ...     model.compile(tf.keras.optimizers.SGD(trial.values["learning_rate"]), "mse")
        ...     model.fit(tf.ones([8, 1]), tf.ones([8, 1]), epochs=2, verbose=0, callbacks=callbacks)
        >>> search = Search(tempfile.mkdtemp(), space, objective="loss", max_trials=3, verbose=0)
        >>> search.run(train).trials
        3
    """

    directory: str | os.PathLike[str]
    space: keras_tuner.HyperParameters
    objective: str = "val_accuracy"
    direction: str | None = None
    tuner: Any = "RandomSearch"
    tuner_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    max_trials: int | None = None
    epochs: int | None = None
    seed: int = 0
    ranks_per_trial: int | None = None
    group: Any = None
    stop_hopeless: str = "never"
    grace: int | None = None
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    resume: bool = False
    keep_checkpoints: str = "best"
    baseline: bool = False
    patience: float = 60.0
    write_best: Callable[[Trial, float], None] | None = None
    verbose: int = 1
    may_differ: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Checks the arguments and claims the directory."""
        checks.counts(self, "max_trials", "epochs", "ranks_per_trial", "grace", at_least=1)
        checks.number("patience", self.patience, at_least=0)
        checks.one_of("verbose", self.verbose, (0, 1))
        if not isinstance(self.tuner, type) or not issubclass(self.tuner, keras_tuner.Oracle):
            checks.one_of("tuner", self.tuner, TUNERS)
        checks.one_of("stop_hopeless", self.stop_hopeless, STOPPING)
        checks.one_of("keep_checkpoints", self.keep_checkpoints, ("best", "all"))
        if self.max_trials is None and self.tuner in ("RandomSearch", "BayesianOptimization"):
            raise ValueError(f"max_trials=None, but {self.tuner} has no end: say how many trials.")
        clash = [entry.name for entry in self.space.space if entry.name in COLUMNS]
        if clash:
            raise ValueError(
                f"space has {clash[0]!r}, which is the name of a column of trials.csv: give it another name."
            )
        self._groups = comm.size() // (self.ranks_per_trial or comm.size())
        if (self._groups > 1) != (self.group is not None):
            raise ValueError(
                f"ranks_per_trial={self.ranks_per_trial!r} of {comm.size()} ranks goes with group, which "
                "comm.init_groups(ranks_per_trial) returns; call it instead of tflbt.init()."
            )
        self.direction = self._oracle().objective.direction
        self._rule: MedianStopping | None = None
        if self.stop_hopeless != "never":
            if self.epochs is None:
                raise ValueError(
                    "stop_hopeless='median' needs epochs, the number of a full training."
                )
            self._rule = MedianStopping(str(self.direction), self.epochs, self.grace)
        self.search_directory = comm.on_chief(self._claim, "tflbt.tuning.directory")
        self._ledger: Ledger | None = None  # on rank 0 alone

    def run(self, train: Train) -> Result:
        """Runs the trials that are left and returns the best of all.

        Args:
            train: `train(trial, folder, callbacks)` trains with `trial.values`, passing `callbacks` to `fit`, on the
                ranks that `tflbt.size()` counts. It may write anything into `folder`; with a
                `tflbt.callbacks.Checkpoint` there that knows these callbacks, a killed search continues in mid-trial.

        Raises:
            ValueError: If three trials in a row fail.
            OSError: If the directory cannot be written, or a rank of a group fails alone (ConnectionError).
        """
        comm.on_chief(self._open_ledger, "tflbt.runs.journal")
        ledger = self._ledger
        server: Any = ledger and TrialServer(ledger.study, ledger.begun, ledger.ended)
        if self.group is not None:
            server = connect(server)
        with comm.process_set_scope(self.group), expecting_traces(), settled():
            while True:
                trial = comm.on_chief(lambda: server.next(), "tflbt.tuning.next")
                if trial == DONE:
                    break
                if trial == WAIT:
                    time.sleep(0.1)
                    continue
                logging.info("rank %d: trial %d: %s", comm.rank(), trial.number, trial.values)
                outcome = self._run(trial, train, server)
                logging.info("rank %d: trial %d: %s", comm.rank(), trial.number, outcome)
                comm.on_chief(lambda: server.end(trial.number, outcome), "tflbt.tuning.end")  # noqa: B023
                free_trials()
        comm.join()
        return comm.on_chief(lambda: ledger.result(), "tflbt.tuning.result")  # type: ignore[union-attr]

    def _oracle(self) -> keras_tuner.Oracle:
        """Returns a new oracle."""
        return make_oracle(
            self.tuner, self.space, self.objective, self.direction, self.seed, self.epochs, self.tuner_options
        )  # fmt: skip

    def _claim(self) -> SearchDirectory:
        """Creates or opens the directory, on rank 0."""
        about = {
            "name": "",
            "objective": self.objective,
            "direction": self.direction,
            "tuner": self.tuner if isinstance(self.tuner, str) else self.tuner.__name__,
            "tuner_options": dict(self.tuner_options),
            "max_trials": self.max_trials,
            "seed": self.seed,
            "ranks": comm.size(),
            "ranks_per_trial": self.ranks_per_trial or comm.size(),
            "epochs": self.epochs,
            "stop_hopeless": self.stop_hopeless,
            "baseline": self.baseline,
            "defaults": {},
            "space": self.space.get_config(),
            **self.about,
        }
        if self.resume:
            return SearchDirectory.open(self.directory, about, (*MAY_DIFFER, *self.may_differ))
        return SearchDirectory.create(self.directory, about)

    def _open_ledger(self) -> None:
        """Reads the journal, on rank 0."""
        directory = self.search_directory
        oracle = self._oracle()
        study = Study(
            oracle,
            Journal(directory.journal),
            max_trials=self.max_trials,
            groups=self._groups,
            in_rounds=self._rule is not None or not isinstance(oracle, INDEPENDENT),
            baseline=self.baseline,
            progress=directory.safe_epochs,
        )
        self._ledger = Ledger(
            study, directory, self.keep_checkpoints, self.write_best, self.verbose
        )
        if self.resume:
            self._ledger.go_on()

    def _run(self, trial: Trial, train: Train, server: Any) -> Outcome:
        """Runs a trial on its ranks."""
        rule = None if trial.number == BASELINE else self._rule
        watch = WatchTrial(trial, self.objective, rule, self.direction)
        directory = self.search_directory

        def in_its_folder() -> None:
            if trial.continues is not None:
                comm.on_chief(
                    lambda: directory.copy_trial(trial.continues, trial.number),  # type: ignore[arg-type]
                    "tflbt.tuning.copy",
                )
            train(trial, directory.trial(trial.number), [watch])

        def exchange(ending: Any) -> Sequence[Any]:
            if comm.size() == 1:
                return [ending]
            if self.group is None:
                return exchange_over_all_ranks(ending)
            return exchange_over_server(server, trial, ending, self.patience)

        try:
            return run_trial(in_its_folder, watch, exchange)
        except TimeoutError as error:
            server.end(trial.number, Outcome(FAILED, tuple(watch.history), message=str(error)))
            raise ConnectionError(
                f"{error}. The trial is recorded as failed; Horovod cannot wake the ranks that wait, so the job ends: "
                "go on with --resume."
            ) from error
