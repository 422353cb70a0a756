"""The records that rank 0 keeps of a running search: table, TensorBoard, the best so far, and lines on the screen."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras_tuner

from tflbt import checks
from tflbt.report.tiles import duration
from tflbt.tuning.hparams_log import HParamsLog
from tflbt.tuning.search_directory import SearchDirectory
from tflbt.tuning.study import BASELINE, Study
from tflbt.tuning.trial import Trial
from tflbt.tuning.values import in_words


@checks.arguments
@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a search.

    Attributes:
        number: The best trial's number; None if no trial has an objective.
        values: Its hyper-parameters.
        objective: Its best objective.
        trials: How many trials ended, without the baseline.
        baseline: The objective before tuning; None if that was not trained, or has none.
        best_epoch: The epoch, from 1, in which the best trial had that objective; None if there is none.
        checkpoint: The folder of its checkpoint of that epoch, whose weights `tflbt.tuning.read_weights` returns in the
            order of `model.weights`; None if the trials wrote none.
        killed: Numbers of the trials that were given up because the job was killed again and again during them, maybe
            from outside: they might have won.
    """

    number: int | None
    values: Mapping[str, Any]
    objective: checks.Measured | None
    trials: int
    baseline: checks.Measured | None = None
    best_epoch: int | None = None
    checkpoint: Path | None = None
    killed: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Checks the numbers."""
        checks.counts(self, "number", "trials", "best_epoch")


@dataclasses.dataclass
class Ledger:
    """Records the events of a study, which has its own journal, in files and on the screen; only rank 0 has one.

    `write_best` is called with each new best trial and its objective; `keep_checkpoints` is "best" or "all".
    """

    study: Study
    directory: SearchDirectory
    keep_checkpoints: str
    write_best: Callable[[Trial, float], None] | None
    verbose: int

    def __post_init__(self) -> None:
        """Opens TensorBoard's log."""
        self._began = time.perf_counter()
        self._ended_now = 0
        self._best = self.study.best()
        self._hparams = HParamsLog(
            self.directory.tensorboard, self.study.oracle.get_space(), self.study.objective
        )

    def go_on(self) -> None:
        """Brings the files up to date with the journal, which a kill may have left ahead of them."""
        self.directory.write_table(self.study)
        for number in self.study.outcomes:
            self._add_hparams(number)
        self._write_best()
        if self.verbose:
            print(
                f"resume: {len(self.study.outcomes)} of {self.study.max_trials or 'all'} trials have ended, "
                f"{len(self.study.running)} will be continued",
                flush=True,
            )

    def begun(self, trial: Trial) -> None:
        """Records that a trial has begun."""
        self.directory.write_table(self.study)
        if self.verbose:
            of = f" of {self.study.max_trials}" if self.study.max_trials and trial.number else ""
            again = ", again" if trial.attempts else ""
            on = f", continuing trial {trial.continues}" if trial.continues else ""
            print(
                f"trial {trial.number}{of}{again}{on}: {in_words(trial.values) or 'nothing changed'}",
                flush=True,
            )

    def ended(self, number: int) -> None:
        """Records that a trial has ended."""
        best = self.study.best()
        self._ended_now += 1
        self.directory.write_table(self.study)
        self._add_hparams(number)
        if best != self._best:
            self._write_best()
        if not isinstance(self.study.oracle, keras_tuner.oracles.HyperbandOracle):
            self._drop_checkpoints({number, self._best} - {best, None})
        self._best = best
        if self.verbose:
            print(self._line(number), flush=True)

    def result(self) -> Result:
        """Returns the search's result; of the ended trials, only the best keeps its checkpoints."""
        study, best = self.study, self.study.best()
        self._drop_checkpoints(set(study.outcomes) - {best})
        done, baseline = set(study.outcomes) - {BASELINE}, study.value(BASELINE)
        killed = tuple(study.killed)
        if best is None:
            return Result(None, {}, None, len(done), baseline, killed=killed)
        epoch = study.best_epoch(best)
        folder = self.directory.trial(best) / "checkpoints" / f"epoch_{epoch:05d}"
        return Result(
            number=best,
            values=study.trials[best].values,
            objective=study.value(best),
            trials=len(done),
            baseline=baseline,
            best_epoch=epoch,
            checkpoint=folder if folder.is_dir() else None,
            killed=killed,
        )

    def _add_hparams(self, number: int) -> None:
        """Shows a trial that has ended on TensorBoard's HPARAMS page."""
        outcome, values = self.study.outcomes[number], self.study.trials[number].values
        if number != BASELINE:
            results = {self.study.objective: self.study.value(number)}
            self._hparams.add(number, values, results, outcome.status, outcome.seconds)

    def _write_best(self) -> None:
        """Passes the best trial on to `write_best`."""
        best = self.study.best()
        if best is not None and self.write_best is not None:
            self.write_best(self.study.trials[best], float(self.study.value(best) or 0.0))

    def _drop_checkpoints(self, numbers: set[Any]) -> None:
        """Removes the checkpoints of trials, unless all are kept."""
        if self.keep_checkpoints == "best":
            for number in numbers:
                self.directory.drop_checkpoints(number)

    def _line(self, number: int) -> str:
        """Returns the line for the screen about a trial that has ended."""
        study = self.study
        outcome, value, best = study.outcomes[number], study.value(number), study.best()
        parts = [outcome.status] if outcome.status != "completed" else []
        parts += [f"{study.objective} {value:.5g}"] if value is not None else []
        parts += [f"{outcome.seconds:.1f} s"]
        if best is not None:
            parts.append(f"best {study.value(best):.5g} (trial {best})")
        left = (study.max_trials or 0) - len(set(study.outcomes) - {BASELINE})
        if left > 0:
            passed = time.perf_counter() - self._began
            parts.append(f"about {duration(passed / self._ended_now * left)} left")
        why = f"; {outcome.message}" if outcome.message else ""
        return f"trial {number}: {', '.join(parts)}{why}"
