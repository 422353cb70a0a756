"""The trials so far and the next one: KerasTuner's oracle, whose whole state is the journal of its trials."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras_tuner
from absl import logging

from tflbt.runs.config import without_numpy
from tflbt.runs.journal import Journal
from tflbt.tuning.oracle import INDEPENDENT, ask
from tflbt.tuning.trial import COMPLETED, FAILED, Outcome, Trial, best_epoch, is_event

# What `Study.next` returns instead of a trial: ask again later, or never.
WAIT, DONE = "wait", "done"
BASELINE = 0  # the number of the trial that changes nothing
# This many errors in a row, none of them a divergence, are the fault of the search and not of the hyper-parameters.
ERRORS_IN_A_ROW = 3
# A trial during which the job was killed this often, without an epoch finished in between, may be the cause: it waits
# until no other trial is left, and is given up after as many kills again.
KILLS = 3
_KILLED = "the job was killed"
_MEANWHILE = " during this trial, without an epoch finished in between"


class Study:
    """The trials of a search: what was tried, how each ended, which is best, and what comes next.

    A study that is made of another's journal has the same state: the oracle (`make_oracle`) is asked again for the
    trials in the order of the journal and gets their results, and must answer the same (KerasTuner's own files would
    lose the state of GridSearch and BayesianOptimization). Trials that were begun and have not ended come first.

    Diverged and failed trials are reported to the oracle with an objective slightly worse than the worst seen: Bayesian
    optimization then stays away from there, and Hyperband's brackets fill up. They never win.

    With several groups, which train at the same time, `in_rounds` makes a new trial wait until all of a round have
    ended, so that its values do not depend on their speed (default: except for RandomSearch and GridSearch, which learn
    nothing). `baseline` begins with trial 0, which has no values and counts only for comparison. `progress` returns the
    number of a trial's safe epochs, to distinguish a trial that kills its job from a slow one. The former is put off
    until no other trial is left, for its job may have been killed from outside, and is given up if that goes on.
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
        progress: Callable[[int], float] = lambda number: 0,
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
        self._proposals: dict[int, keras_tuner.engine.trial.Trial] = {}
        self._reported: list[int] = []  # finished trials that the oracle knows, in that order
        self._unreported: list[int] = []  # finished trials not yet reported to the oracle
        self._begun: dict[int, list[float]] = {}  # by trial, the safe epochs at each beginning
        self._queue: list[int] = []
        self._put_off: list[int] = []  # trials that may be killing their job
        self._in_this_round = 0  # trials proposed since a trial was begun
        self._exhausted = False
        self._errors: list[str] = []  # of the last trials of this process
        self._replay(journal.events())

    @property
    def objective(self) -> str:
        """The objective's name."""
        return self.oracle.objective.name

    @property
    def direction(self) -> str:
        """Whether the objective is best at its "max" or "min"."""
        return self.oracle.objective.direction

    @property
    def running(self) -> list[int]:
        """Numbers of the trials that have not ended."""
        return [number for number in self.trials if number not in self.outcomes]

    def next(self) -> Trial | str:
        """Returns the next trial, `WAIT` while there is none yet, or `DONE`."""
        if len(self._errors) >= ERRORS_IN_A_ROW:
            raise ValueError(
                f"the last {len(self._errors)} trials failed, so the search ends; the last one's error: "
                f"{self._errors[-1]}"
            )
        while True:
            self._refill()
            if self._queue:
                number = self._queue.pop(0)
                if self._kills(number) >= KILLS:
                    logging.warning(
                        "trial %d: the job was killed %d times during it; it is tried again when no other is left.",
                        *(number, self._kills(number)),
                    )
                    self._put_off.append(number)
                    continue
            elif self._put_off:
                number = self._put_off.pop(0)
            else:
                return WAIT if self.running and not self._is_full() else DONE
            trial = self._begin(number)
            if trial is not None:
                return trial

    def end(self, number: int, outcome: Outcome) -> None:
        """Records how a running trial ended."""
        if number not in self.running:
            raise ValueError(f"number={number!r} is no running trial: {self.running} are.")
        self.journal.append({"event": "end", "trial": number, **dataclasses.asdict(outcome)})
        self._ended(number, outcome)
        self._errors = [*self._errors, outcome.message] if outcome.status == FAILED else []

    def value(self, number: int) -> float | None:
        """Returns the best finite objective of a trial's epochs, or None."""
        history = self.outcomes[number].history if number in self.outcomes else ()
        epoch = best_epoch(history, self.direction)
        return None if epoch is None else history[epoch - 1]

    def best_epoch(self, number: int) -> int | None:
        """Returns the epoch (from 1) in which a trial first had its best objective."""
        history = self.outcomes[number].history if number in self.outcomes else ()
        return best_epoch(history, self.direction)

    def best(self) -> int | None:
        """Returns the number of the best trial, the earliest of equals, or None."""
        sign = 1 if self.direction == "max" else -1
        good = {
            number: sign * value
            for number, outcome in sorted(self.outcomes.items())
            if outcome.counts and number != BASELINE and (value := self.value(number)) is not None
        }
        return max(good, key=good.__getitem__, default=None)

    @property
    def killed(self) -> list[int]:
        """Numbers of the trials that were given up because their job was killed again and again."""
        return [n for n, o in self.outcomes.items() if o.message.startswith(_KILLED)]

    def _is_full(self) -> bool:
        """Whether no further trial may be proposed."""
        limit = self.max_trials
        return self._exhausted or (limit is not None and len(self._proposals) >= limit)

    def _refill(self) -> None:
        """Asks the oracle for a trial if none is waiting; in rounds, for one per group once all before have ended.

        A round that a kill interrupted is completed.
        """
        if self._baseline and BASELINE not in self.trials:
            self._new(Trial(BASELINE, {}))
        missing = 0 if self._queue else 1
        if self.in_rounds:
            learning = set(self.running) - {BASELINE, *self._put_off}
            missing = self.groups if missing and not learning else 0
            if self._in_this_round:
                missing = self.groups - self._in_this_round
        for _ in range(missing):
            trial = None if self._is_full() else self._ask()
            if trial is None:
                return
            self._new(trial)

    def _new(self, trial: Trial) -> None:
        """Records and queues a proposed trial."""
        self.journal.append({"event": "new", "trial": trial.number, "values": dict(trial.values)})
        self._queue.append(trial.number)
        self._add(trial)

    def _add(self, trial: Trial) -> None:
        """Takes a trial into the study."""
        self.trials[trial.number] = trial
        if trial.number != BASELINE:
            self._in_this_round += 1

    def _ask(self, known: dict[str, Any] | None = None) -> Trial | None:
        """Asks the oracle for the next trial, after reporting results; None if it has none now."""
        for ended in sorted(self._unreported):
            self._report(ended)
        self._unreported = []
        number = len(self._proposals) + 1
        proposal = ask(self.oracle, number, known)
        if proposal.status != "RUNNING":
            self._exhausted = proposal.status == "STOPPED"
            return None
        self._proposals[number] = proposal
        proposed = proposal.hyperparameters.values
        values = {name: without_numpy(value) for name, value in proposed.items()}
        before = values.get("tuner/trial_id")  # "tuner/..." are Hyperband's
        continues = None if before is None else int(before) + 1
        return Trial(number, values, values.get("tuner/epochs"), continues)

    def _begin(self, number: int) -> Trial | None:
        """Returns the trial as it is begun now, maybe not for the first time; None if it keeps killing its job."""
        begun = self._begun.setdefault(number, [])
        safe = self._progress(number)
        if self._kills(number) >= 2 * KILLS:
            self.end(number, Outcome(FAILED, message=f"{_KILLED} {len(begun)} times{_MEANWHILE}"))
            self._errors = []
            return None
        self.journal.append({"event": "begin", "trial": number, "epochs": safe})
        begun.append(safe)
        self._in_this_round = 0
        reported = [self.outcomes[n] for n in self._reported]
        finished = tuple(outcome.history for outcome in reported if outcome.status == COMPLETED)
        trial = self.trials[number]
        return dataclasses.replace(trial, attempts=len(begun) - 1, finished=finished)

    def _kills(self, number: int) -> int:
        """Returns how often the job was killed during a trial since that finished its last safe epoch."""
        safe, begun = self._progress(number), self._begun.get(number, [])
        return next((n for n, epochs in enumerate(reversed(begun)) if epochs != safe), len(begun))

    def _ended(self, number: int, outcome: Outcome) -> None:
        """Takes an outcome into the study."""
        self.outcomes[number] = outcome
        if number != BASELINE:
            self._unreported.append(number)

    def _report(self, number: int) -> None:
        """Reports the best objective of a trial to the oracle; slightly less than the worst if it does not count."""
        self._reported.append(number)
        proposal = self._proposals[number]
        value = self.value(number) if self.outcomes[number].counts else None
        proposal.status = "COMPLETED"
        metrics = {self.objective: 0.0 if value is None else value}
        self.oracle.update_trial(proposal.trial_id, metrics)
        self.oracle.end_trial(proposal)
        scores = {n: self.value(n) for n in self._reported if self.outcomes[n].counts}
        good = [score for score in scores.values() if score is not None]
        if self.direction == "max":
            worst = math.nextafter(min(good, default=0.0), -math.inf)
        else:
            worst = math.nextafter(max(good, default=0.0), math.inf)
        for reported in self._reported:
            score = scores.get(reported)
            trial = self.oracle.trials[self._proposals[reported].trial_id]
            trial.score = worst if score is None else score

    def _replay(self, events: list[dict[str, Any]]) -> None:
        """Restores the state from the journal's events."""
        for event in events:
            if not is_event(event):
                raise ValueError(
                    f"{self.journal.path}: {str(event)[:200]} is not an event of a search."
                )
            kind, number = event["event"], event["trial"]
            if kind == "new":
                self._add(self._propose_again(number, event["values"]))
            elif number not in self.running:
                raise ValueError(
                    f"{self.journal.path}: {kind!r} of trial {number}, which is not running."
                )
            elif kind == "begin":
                self._begun.setdefault(number, []).append(event["epochs"])
                self._in_this_round = 0
            else:
                status, history = event["status"], tuple(event["history"])
                self._ended(number, Outcome(status, history, event["seconds"], event["message"]))
        self._queue = self.running

    def _propose_again(self, number: int, values: dict[str, Any]) -> Trial:
        """Returns a trial of the journal, after asking the oracle for it again."""
        if number == BASELINE:
            return Trial(BASELINE, {})
        trial = self._ask(values)
        if trial is None or (trial.number, trial.values) != (number, values):
            raise ValueError(
                f"{self.journal.path}: trial {number} had {values}, but now the tuner proposes "
                f"{trial and trial.values}. Was the search begun with another version of KerasTuner, "
                "scikit-learn or tflbt? Go on with that one, or begin a new search."
            )
        return trial
