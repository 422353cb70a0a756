"""What has been tried and what to try next: KerasTuner's oracle, whose whole state is the journal of its trials."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras_tuner

from tflbt.runs.journal import Journal
from tflbt.tuning.oracle import INDEPENDENT, ask
from tflbt.tuning.oracle import make_oracle as make_oracle  # most often wanted with a study
from tflbt.tuning.trial import COMPLETED, FAILED, Outcome, Trial

# What `Study.next` says when there is no trial: ask again later, or never.
WAIT, DONE = "wait", "done"
BASELINE = 0  # number of the trial that changes nothing
# So many errors in a row, none of them a divergence, are the search's fault and not the hyper-parameters'.
ERRORS_IN_A_ROW = 3
# A trial during which the job was killed so often without finishing an epoch in between is the cause.
KILLS = 3
# What the journal's events tell besides their kind.
_FIELDS = {
    "new": {"trial", "values"},
    "begin": {"trial", "epochs"},
    "end": {"trial", "status", "history", "seconds", "message"},
}


class Study:
    """The trials of a search: which were, how they ended, which is best, what comes next.

    A study that is made of the journal of another is the same as that one: the oracle is asked again for the trials in
    the order of the journal and told their results, and must give the same (KerasTuner's own files would lose where
    GridSearch and BayesianOptimization were). Trials that were begun and not ended come first.

    The oracle is told of diverged and failed trials as if their objective were a hair worse than the worst seen:
    Bayesian optimization then stays away from there, and Hyperband's brackets fill up. They never win.

    Args:
        oracle: Of `make_oracle`.
        journal: Of this study; events that it holds are played again.
        max_trials: The most trials; None: until the oracle has no more.
        groups: Trials that run at the same time.
        in_rounds: With several groups, whether a new trial waits until all of a round have ended, so that what it
            depends on does not depend on their speed; default None: except for RandomSearch and GridSearch, which learn
            nothing.
        baseline: Whether to begin with trial 0, which has no values: what is tuned as it is. It counts for nothing but
            to hold the others against.
        progress: Says how many epochs of a trial are safe, to tell a trial that kills its job from a slow one.

    Raises:
        ValueError: If the journal is damaged, or not of such a study.

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
        self._in_this_round = 0  # trials asked for since one was begun
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
            ValueError: If the last trials of this process all failed.
        """
        if len(self._errors) >= ERRORS_IN_A_ROW:
            raise ValueError(
                f"the last {len(self._errors)} trials failed, so the search ends; the last one's error: "
                f"{self._errors[-1]}"
            )
        while True:
            self._refill()
            if not self._queue:
                return WAIT if self.running and not self._is_full() else DONE
            trial = self._begin(self._queue.pop(0))
            if trial is not None:
                return trial

    def end(self, number: int, outcome: Outcome) -> None:
        """Writes down how a trial ended.

        Raises:
            ValueError: If it is not running.
            OSError: If the journal cannot be written.
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
        """Asks the oracle for a trial if none is waiting; in rounds, for one a group once all before have ended.

        A round that a kill left half asked for is filled up.
        """
        if self._baseline and BASELINE not in self.trials:
            self._new(Trial(BASELINE, {}))
        wanted = 0 if self._queue else 1
        if self.in_rounds:
            learning = any(number != BASELINE for number in self.running)
            wanted = self.groups if wanted and not learning else 0
            if self._in_this_round:
                wanted = self.groups - self._in_this_round
        for _ in range(wanted):
            trial = None if self._is_full() else self._ask()
            if trial is None:
                return
            self._new(trial)

    def _new(self, trial: Trial) -> None:
        event = {"event": "new", "trial": trial.number, "values": dict(trial.values)}
        self.journal.append(event)
        self._queue.append(trial.number)
        self._add(trial)

    def _add(self, trial: Trial) -> None:
        self.trials[trial.number] = trial
        if trial.number != BASELINE:
            self._in_this_round += 1

    def _ask(self, known: dict[str, Any] | None = None) -> Trial | None:
        for ended in sorted(self._untold):
            self._tell(ended)
        self._untold = []
        number = len(self._asked) + 1
        asked = ask(self.oracle, number, known)
        if asked.status != "RUNNING":
            self._exhausted = asked.status == "STOPPED"
            return None
        self._asked[number] = asked
        values = {name: _plain(value) for name, value in asked.hyperparameters.values.items()}
        before = values.get("tuner/trial_id")  # these names are Hyperband's
        return Trial(
            number,
            values,
            epochs=values.get("tuner/epochs"),
            continues=None if before is None else int(before) + 1,
        )

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
        self._in_this_round = 0
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
        """Tells the oracle the best objective of a trial, or of one that does not count a hair less than the worst."""
        self._told.append(number)
        asked = self._asked[number]
        value = self.value(number) if self.outcomes[number].counts else None
        asked.status = "COMPLETED"
        self.oracle.update_trial(asked.trial_id, {self.objective: 0.0 if value is None else value})
        self.oracle.end_trial(asked)
        scores = {one: self.value(one) for one in self._told if self.outcomes[one].counts}
        good = [score for score in scores.values() if score is not None]
        if self.direction == "max":
            worst = math.nextafter(min(good, default=0.0), -math.inf)
        else:
            worst = math.nextafter(max(good, default=0.0), math.inf)
        for one in self._told:
            score = scores.get(one)
            self.oracle.trials[self._asked[one].trial_id].score = worst if score is None else score

    def _play_again(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            kind = event["event"]
            if not _FIELDS.get(kind, {None}) <= event.keys():
                raise ValueError(f"{self.journal.path}: {event} is no event of a search.")
            number = event["trial"]
            if kind == "new":
                self._add(self._found_again(number, event["values"]))
            elif number not in self.running:
                raise ValueError(
                    f"{self.journal.path}: {kind!r} of trial {number}, which is not running."
                )
            elif kind == "begin":
                self._begun.setdefault(number, []).append(event["epochs"])
                self._in_this_round = 0
            else:
                told = (event["status"], tuple(event["history"]))
                self._ended(number, Outcome(*told, event["seconds"], event["message"]))
        self._queue = self.running

    def _found_again(self, number: int, values: dict[str, Any]) -> Trial:
        """A trial of the journal, asked for once more."""
        if number == BASELINE:
            return Trial(BASELINE, {})
        trial = self._ask(values)
        if trial is None or (trial.number, trial.values) != (number, values):
            raise ValueError(
                f"{self.journal.path}: trial {number} had {values}, but now the tuner gives "
                f"{trial and trial.values}. Was the search begun with another version of KerasTuner, "
                "scikit-learn or tflbt? Go on with that one, or begin a new search."
            )
        return trial


def _plain(value: Any) -> Any:
    """A NumPy number as Python's, so that it goes through JSON unchanged."""
    return value.item() if hasattr(value, "item") else value
