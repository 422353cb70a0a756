"""What rank 0 keeps of a search as it goes: table, TensorBoard, the best so far, and what the screen says."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras_tuner

from tflbt.tuning.hparams_log import HParamsLog
from tflbt.tuning.search_directory import SearchDirectory
from tflbt.tuning.study import BASELINE, Study
from tflbt.tuning.trial import Trial
from tflbt.tuning.values import in_words


@dataclasses.dataclass(frozen=True)
class Result:
    """What a search found.

    Attributes:
        number: Of the best trial; None if none has an objective.
        values: Its hyper-parameters.
        objective: Its best objective.
        trials: How many ended, without the baseline.
        baseline: The objective of what is tuned as it was; None if it was not tried, or has none.
    """

    number: int | None
    values: Mapping[str, Any]
    objective: float | None
    trials: int
    baseline: float | None = None


class Ledger:
    """Writes down, and tells of, what happens to a study that has its journal; rank 0 alone has one.

    Args:
        study: The search's state, as its journal has it.
        directory: Where the table, TensorBoard's files and the trials lie.
        objective: A column of an epoch's logs.
        max_trials: The most trials; None: until the tuner has no more.
        keep_checkpoints: "best" or "all".
        write_best: Called with each new best trial and its objective.
        verbose: 1 prints two lines a trial, 0 nothing.
    """

    def __init__(
        self,
        study: Study,
        directory: SearchDirectory,
        *,
        objective: str,
        max_trials: int | None,
        keep_checkpoints: str,
        write_best: Callable[[Trial, float], None] | None,
        verbose: int,
    ) -> None:
        self.study = study
        self.directory = directory
        self.objective = objective
        self.max_trials = max_trials
        self.keep_checkpoints = keep_checkpoints
        self.write_best = write_best
        self.verbose = verbose
        self._began = time.perf_counter()
        self._ended_now = 0
        self._best = study.best()
        self._hparams = HParamsLog(directory.tensorboard, study.oracle.get_space(), objective)

    def go_on(self) -> None:
        """Makes the files what the journal says: a kill may have come between it and these."""
        self.directory.write_table(self.study)
        for number in self.study.outcomes:
            self._add_hparams(number)
        self._tell_best()
        if self.verbose:
            print(
                f"resume: {len(self.study.outcomes)} of {self.max_trials or 'all'} trials have ended, "
                f"{len(self.study.running)} will be gone on with",
                flush=True,
            )

    def begun(self, trial: Trial) -> None:
        """A trial has begun."""
        self.directory.write_table(self.study)
        if self.verbose:
            of = f" of {self.max_trials}" if self.max_trials and trial.number else ""
            again = ", again" if trial.attempts else ""
            on = f", going on from trial {trial.continues}" if trial.continues else ""
            print(
                f"trial {trial.number}{of}{again}{on}: {in_words(trial.values) or 'nothing changed'}",
                flush=True,
            )

    def ended(self, number: int) -> None:
        """A trial has ended."""
        best = self.study.best()
        self._ended_now += 1
        self.directory.write_table(self.study)
        self._add_hparams(number)
        if best != self._best:
            self._tell_best()
        if not isinstance(self.study.oracle, keras_tuner.oracles.HyperbandOracle):
            self._drop_checkpoints({number, self._best} - {best, None})
        self._best = best
        if self.verbose:
            print(self._line(number), flush=True)

    def result(self) -> Result:
        """What the search found; of the trials that have ended, the best alone keeps its checkpoints."""
        study, best = self.study, self.study.best()
        self._drop_checkpoints(set(study.outcomes) - {best})
        done, baseline = set(study.outcomes) - {BASELINE}, study.value(BASELINE)
        if best is None:
            return Result(None, {}, None, len(done), baseline)
        return Result(best, study.trials[best].values, study.value(best), len(done), baseline)

    def _add_hparams(self, number: int) -> None:
        outcome, values = self.study.outcomes[number], self.study.trials[number].values
        if number != BASELINE:
            told = {self.objective: self.study.value(number)}
            self._hparams.add(number, values, told, outcome.status, outcome.seconds)

    def _tell_best(self) -> None:
        best = self.study.best()
        if best is not None and self.write_best is not None:
            self.write_best(self.study.trials[best], float(self.study.value(best) or 0.0))

    def _drop_checkpoints(self, numbers: set[Any]) -> None:
        if self.keep_checkpoints == "best":
            for number in numbers:
                self.directory.drop_checkpoints(number)

    def _line(self, number: int) -> str:
        """What the screen says of a trial that has ended."""
        outcome, value, best = (
            self.study.outcomes[number],
            self.study.value(number),
            self.study.best(),
        )
        parts = [outcome.status] if outcome.status != "completed" else []
        parts += [f"{self.objective} {value:.5g}"] if value is not None else []
        parts += [f"{outcome.seconds:.1f} s"]
        if best is not None:
            parts.append(f"best {self.study.value(best):.5g} (trial {best})")
        done = len(self.study.outcomes) - (BASELINE in self.study.outcomes)
        if self.max_trials and done < self.max_trials:
            left = self.max_trials - done
            passed = time.perf_counter() - self._began
            parts.append(f"about {_duration(passed / self._ended_now * left)} left")
        why = f"; {outcome.message}" if outcome.message else ""
        return f"trial {number}: {', '.join(parts)}{why}"


def _duration(seconds: float) -> str:
    """Seconds as a person says them.

    Example:
        >>> _duration(75), _duration(3 * 3600 + 61)
        ('1 min 15 s', '3 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
