"""What has been tried and what to try next: KerasTuner's oracle, whose whole state is the journal of its trials."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras_tuner
import numpy as np

from tflbt.tuning.journal import Journal
from tflbt.tuning.trial import COMPLETED, FAILED, Outcome, Trial

# What `Study.next` says when there is no trial: ask again later, or never.
WAIT, DONE = "wait", "done"
BASELINE = 0  # number of the trial that changes nothing
TUNERS = ("RandomSearch", "BayesianOptimization", "Hyperband", "GridSearch")
# An oracle's arguments that are the search's own.
_OURS = {
    "objective",
    "hyperparameters",
    "seed",
    "max_trials",
    "allow_new_entries",
    "tune_new_entries",
}
_OURS |= {"max_retries_per_trial", "max_consecutive_failed_trials"}
# Oracles whose trials do not depend on how others ended.
INDEPENDENT = (keras_tuner.oracles.RandomSearchOracle, keras_tuner.oracles.GridSearchOracle)
# So many errors in a row, none of them a divergence, are the search's fault and not the hyper-parameters'.
ERRORS_IN_A_ROW = 3
# A trial during which the job was killed so often without finishing an epoch in between is the cause.
KILLS = 3


def make_oracle(
    tuner: str | type[keras_tuner.Oracle],
    space: keras_tuner.HyperParameters,
    objective: str,
    direction: str | None = None,
    seed: int = 0,
    epochs: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> keras_tuner.Oracle:
    """KerasTuner's oracle of a tuner, without files or output of its own.

    Args:
      tuner: "RandomSearch", "BayesianOptimization", "Hyperband" or "GridSearch", or an oracle's class.
      space: what to search.
      objective: a column of the epochs' logs, such as "val_accuracy".
      direction: "max" or "min"; None: KerasTuner's word on it.
      seed: 0 or more. The same seed gives the same trials.
      epochs: of a full training; Hyperband's `max_epochs`.
      options: more arguments of the oracle, such as `factor` of Hyperband.

    Returns:
      The oracle.

    Raises:
      ValueError: if the tuner, an option or the objective's direction is unknown.

    Example:
      >>> space = keras_tuner.HyperParameters()
      >>> _ = space.Float("optimizer.learning_rate", 0.01, 1.0, sampling="log")
      >>> oracle = make_oracle("RandomSearch", space, "val_accuracy")
      >>> oracle.objective.direction
      'max'
    """
    if isinstance(tuner, str):
        if tuner not in TUNERS:
            raise ValueError(f"tuner={tuner!r} must be one of {', '.join(TUNERS)}.")
        kind: Any = getattr(keras_tuner.oracles, f"{tuner}Oracle")
    else:
        kind = tuner
    known = inspect.signature(kind).parameters
    given: dict[str, Any] = {"max_epochs": epochs} if "max_epochs" in known and epochs else {}
    for name, value in (options or {}).items():
        if name not in known or name in _OURS:
            raise ValueError(
                f"tuner_options has {name!r}, which {tuner} does not take: it has "
                f"{', '.join(sorted(set(known) - _OURS)) or 'none'}."
            )
        given[name] = value
    if direction not in (None, "min", "max"):
        raise ValueError(f"direction={direction!r} must be 'min' or 'max'.")
    try:
        oracle = kind(
            objective=keras_tuner.Objective(objective, direction) if direction else objective,
            hyperparameters=space,
            seed=_spread(seed),
            allow_new_entries=False,
            tune_new_entries=False,
            **given,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{tuner} for objective={objective!r}: {error}") from error
    oracle.verbose = 0
    oracle.save = oracle._save_trial = lambda *_: None  # the journal is what lasts
    return oracle


def _spread(seed: int) -> int:
    """A seed for KerasTuner, for which 0 means any, and neighbouring ones give partly the same trials."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed={seed!r} must be a whole number, at least 0.")
    return int(np.random.SeedSequence(seed).generate_state(1)[0]) // 2 + 1


class Study:
    """The trials of a search: which were, how they ended, which is best, what comes next.

    A study that is made of the journal of another is the same as that one: the oracle is asked again for the trials in
    the order of the journal and told their results, and must give the same (KerasTuner's own files would lose where
    GridSearch and BayesianOptimization were). Trials that were begun and not ended come first.

    The oracle is told of diverged and failed trials as if they had the worst objective seen: Bayesian optimization
    then stays away from there, and Hyperband's brackets fill up. They never win.

    Args:
      oracle: of `make_oracle`.
      journal: of this study; events that it holds are played again.
      max_trials: the most trials; None: until the oracle has no more.
      groups: trials that run at the same time.
      in_rounds: with several groups, whether a new trial waits until all of a round have ended, so that what it
        depends on does not depend on their speed; default None: except for RandomSearch and GridSearch, which learn
        nothing.
      baseline: whether to begin with trial 0, which has no values: what is tuned as it is. It counts for nothing but
        to hold the others against.
      progress: says how many epochs of a trial are safe, to tell a trial that kills its job from a slow one.

    Raises:
      ValueError: if the journal is damaged, or not of such a study.

    Example:
      >>> import tempfile, pathlib
      >>> space = keras_tuner.HyperParameters()
      >>> _ = space.Choice("batch_size", [64, 128])
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "journal.jsonl"
      >>> study = Study(make_oracle("GridSearch", space, "val_accuracy"), Journal(path))
      >>> trial = study.next()
      >>> trial.number, trial.values
      (1, {'batch_size': 64})
      >>> study.end(1, Outcome("completed", (0.8, 0.9)))
      >>> study.best(), study.next().values
      (1, {'batch_size': 128})
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        journal: Journal,
        *,
        max_trials: int | None = None,
        groups: int = 1,
        in_rounds: bool | None = None,
        baseline: bool = False,
        progress: Callable[[int], int] = lambda number: 0,
    ) -> None:
        self.oracle = oracle
        self.journal = journal
        self.max_trials = max_trials
        self.groups = groups
        if in_rounds is None:
            in_rounds = not isinstance(oracle, INDEPENDENT)
        self.in_rounds = in_rounds and groups > 1
        self.trials: dict[int, Trial] = {}
        self.outcomes: dict[int, Outcome] = {}
        self._baseline = baseline
        self._progress = progress
        self._asked: dict[int, keras_tuner.engine.trial.Trial] = {}
        self._told: list[int] = []  # numbers whose outcome the oracle knows, in that order
        self._untold: list[int] = []  # those of which it will learn before it is asked again
        self._begun: dict[int, list[int]] = {}  # epochs that were safe at each beginning
        self._queue: list[int] = []
        self._exhausted = False
        self._errors: list[str] = []  # of the last trials of this process
        self._play_again(journal.events())

    @property
    def objective(self) -> str:
        """The objective's name."""
        return self.oracle.objective.name

    @property
    def direction(self) -> str:
        """Which end of the objective is best: "max" or "min"."""
        return self.oracle.objective.direction

    @property
    def running(self) -> list[int]:
        """Numbers of the trials that have not ended."""
        return [number for number in self.trials if number not in self.outcomes]

    def next(self) -> Trial | str:
        """The next trial, `WAIT` while none can be told yet, or `DONE`.

        Raises:
          ValueError: if the last trials of this process all failed.
        """
        if len(self._errors) >= ERRORS_IN_A_ROW:
            raise ValueError(
                f"the last {len(self._errors)} trials failed, so the search ends; the last one's error: "
                f"{self._errors[-1]}"
            )
        while True:
            if not self._queue:
                self._refill()
            if not self._queue:
                return WAIT if self.running and not self._is_full() else DONE
            trial = self._begin(self._queue.pop(0))
            if trial is not None:
                return trial

    def end(self, number: int, outcome: Outcome) -> None:
        """Writes down how a trial ended.

        Raises:
          ValueError: if it is not running.
          OSError: if the journal cannot be written.
        """
        if number not in self.running:
            raise ValueError(f"number={number!r} is no running trial: {self.running} are.")
        self.journal.append(
            {
                "event": "end",
                "trial": number,
                "status": outcome.status,
                "history": list(outcome.history),
                "seconds": outcome.seconds,
                "message": outcome.message,
            }
        )
        self._ended(number, outcome)
        self._errors = [*self._errors, outcome.message] if outcome.status == FAILED else []

    def value(self, number: int) -> float | None:
        """The best objective of a trial's epochs; None if it has none that is a number."""
        history = self.outcomes[number].history if number in self.outcomes else ()
        numbers = [value for value in history if math.isfinite(value)]
        return (max if self.direction == "max" else min)(numbers) if numbers else None

    def best_epoch(self, number: int) -> int | None:
        """The epoch (from 1) in which a trial first had its best objective."""
        value = self.value(number)
        return None if value is None else self.outcomes[number].history.index(value) + 1

    def best(self) -> int | None:
        """The number of the best trial, the earliest of equals; None while there is none."""
        sign = 1 if self.direction == "max" else -1
        values = {
            number: self.value(number)
            for number, outcome in sorted(self.outcomes.items())
            if outcome.counts and number != BASELINE
        }
        good = {number: sign * value for number, value in values.items() if value is not None}
        return max(good, key=good.__getitem__) if good else None

    def _is_full(self) -> bool:
        return self._exhausted or (
            self.max_trials is not None and len(self._asked) >= self.max_trials
        )

    def _refill(self) -> None:
        """Asks the oracle for a trial; in rounds, for as many as there are groups once all before have ended."""
        if self._baseline and BASELINE not in self.trials:
            self._new(Trial(BASELINE, {}))
            return
        if self.in_rounds and self.running:
            return
        for _ in range(self.groups if self.in_rounds else 1):
            trial = None if self._is_full() else self._ask()
            if trial is None:
                return
            self._new(trial)

    def _new(self, trial: Trial) -> None:
        self.trials[trial.number] = trial
        event = {"event": "new", "trial": trial.number, "values": dict(trial.values)}
        self.journal.append(event)
        self._queue.append(trial.number)

    def _ask(self) -> Trial | None:
        for ended in sorted(self._untold):
            self._tell(ended)
        self._untold = []
        number = len(self._asked) + 1
        seed = self.oracle._seed_state
        asked = self.oracle.create_trial(str(number))
        if asked.status != "RUNNING":
            self.oracle._seed_state = (
                seed  # as if not asked: how often depends on the speed of others
            )
            self._exhausted = asked.status == "STOPPED"
            return None
        values = {name: _plain(value) for name, value in asked.hyperparameters.values.items()}
        before = values.get("tuner/trial_id")  # these names are Hyperband's
        trial = Trial(
            number,
            values,
            epochs=values.get("tuner/epochs"),
            continues=None if before is None else int(before) + 1,
        )
        if isinstance(self.oracle, keras_tuner.oracles.GridSearchOracle):
            self.oracle._populate_next.append(asked.trial_id)  # no need to wait for its end
        self._asked[number] = asked
        return trial

    def _begin(self, number: int) -> Trial | None:
        """The trial as it is begun now, maybe not for the first time; None if it keeps killing its job."""
        begun = self._begun.setdefault(number, [])
        safe = self._progress(number)
        if begun[-KILLS:] == [safe] * KILLS:
            message = f"the job was killed {len(begun)} times during this trial, without an epoch finished in between"
            self.end(number, Outcome(FAILED, message=message))
            self._errors = []
            return None
        self.journal.append({"event": "begin", "trial": number, "epochs": safe})
        begun.append(safe)
        trial = self.trials[number]
        finished = tuple(
            self.outcomes[one].history
            for one in self._told
            if self.outcomes[one].status == COMPLETED
        )
        return Trial(number, trial.values, trial.epochs, trial.continues, len(begun) - 1, finished)

    def _ended(self, number: int, outcome: Outcome) -> None:
        self.outcomes[number] = outcome
        if number != BASELINE:
            self._untold.append(number)

    def _tell(self, number: int) -> None:
        """Tells the oracle the best objective of a trial, or of one that does not count the worst of all."""
        self._told.append(number)
        asked = self._asked[number]
        value = self.value(number) if self.outcomes[number].counts else None
        asked.status = "COMPLETED"
        self.oracle.update_trial(asked.trial_id, {self.objective: 0.0 if value is None else value})
        self.oracle.end_trial(asked)
        scores = {one: self.value(one) for one in self._told if self.outcomes[one].counts}
        good = [score for score in scores.values() if score is not None]
        worst = (min if self.direction == "max" else max)(good, default=0.0)
        for one in self._told:
            score = scores.get(one)
            self.oracle.trials[self._asked[one].trial_id].score = worst if score is None else score

    def _play_again(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            kind, number = event["event"], int(event["trial"])
            if kind == "new":
                trial = Trial(BASELINE, {}) if number == BASELINE else self._ask()
                if trial is None or (trial.number, trial.values) != (number, event["values"]):
                    raise ValueError(
                        f"{self.journal.path}: trial {number} had {event['values']}, but now the tuner gives "
                        f"{trial and trial.values}. Was the search begun with another version of KerasTuner, "
                        "scikit-learn or tflbt? Go on with that one, or begin a new search."
                    )
                self.trials[number] = trial
            elif kind == "begin":
                self._begun.setdefault(number, []).append(event["epochs"])
            elif kind == "end":
                self._ended(
                    number,
                    Outcome(
                        event["status"],
                        tuple(event["history"]),
                        event["seconds"],
                        event["message"],
                    ),
                )
            else:
                raise ValueError(f"{self.journal.path}: {kind!r} is no event of a search.")
        self._exhausted = False
        self._queue = self.running


def _plain(value: Any) -> Any:
    """A NumPy number as Python's, so that it goes through JSON unchanged."""
    return value.item() if hasattr(value, "item") else value
