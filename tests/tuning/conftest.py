"""A search without training, for the tests of what proposes its trials: its studies, and how their trials end."""

from __future__ import annotations

import gc
import itertools
import math
import os

import keras_tuner
import pytest
import scipy.optimize

from tflbt.runs.journal import Journal
from tflbt.tuning.oracle import make_oracle
from tflbt.tuning.study import Study
from tflbt.tuning.trial import Outcome, Trial


@pytest.fixture(scope="module")
def settled_before():
    """As in a search: what TensorFlow and other tests have made is not looked through after each trial."""
    gc.collect()
    gc.freeze()


class InventedSearch:
    """Studies of a learning rate and beta; a trial's objective is the higher the nearer the two are to 0.1 and 0.5."""

    def __init__(self, folder):
        self.folder = folder
        self.space = keras_tuner.HyperParameters()
        self.space.Float("learning_rate", 0.01, 1.0, sampling="log", default=0.1)
        self.space.Choice("beta", [0.3, 0.5, 0.7], default=0.5)
        self.small = keras_tuner.HyperParameters()
        self.small.Choice("learning_rate", [0.01, 0.1, 0.5, 0.8, 1.0])
        self.tiny = keras_tuner.HyperParameters()
        self.tiny.Choice("learning_rate", [0.01, 0.1, 0.5, 1.0])
        self._numbers = itertools.count()

    def path(self):
        """Where no journal is yet."""
        return self.folder / f"journal_{next(self._numbers)}.jsonl"

    def study(
        self, tuner="RandomSearch", path=None, *, space=None, seed=0, direction="max", epochs=4, tuner_options=None,
        **options,
    ):  # fmt: skip
        """A study in its own file, or in one that is there."""
        known = {"Hyperband": {"factor": 2}, "BayesianOptimization": {"num_initial_points": 3}}
        oracle = make_oracle(
            tuner, space or self.space, "val_accuracy", direction, seed, epochs,
            known.get(tuner) if tuner_options is None else tuner_options,
        )  # fmt: skip
        if tuner == "BayesianOptimization":
            oracle.gpr.n_restarts_optimizer = 0
        return Study(oracle, Journal(path or self.path()), **options)

    @staticmethod
    def outcome(trial):
        """How a trial ends: some diverge, some fail, never three in a row."""
        values = {"learning_rate": 0.1, "beta": 0.5, **trial.values}
        value = 1 - abs(math.log10(values["learning_rate"]) + 1) / 2 - abs(values["beta"] - 0.5)
        if trial.number % 4 == 3:
            return Outcome("failed", (), 0.5, 'MemoryError: no room, "none"\nat all')
        if trial.number % 5 == 2:
            return Outcome("diverged", (2.0, math.nan), 0.5, "the loss is nan")
        return Outcome("completed", (value / 2, value), 1.0)

    def drive(self, study, last_first=False):
        """Runs a study to its end with as many trials at once as it has groups; the trials by number."""
        running = []
        while True:
            while len(running) < study.groups and isinstance(trial := study.next(), Trial):
                running.append(trial)
            if not running:
                return self.trials(study)
            trial = running.pop(-1 if last_first else 0)
            study.end(trial.number, self.outcome(trial))

    @staticmethod
    def trials(study):
        """What the trials of a study are."""
        return {n: (dict(t.values), t.epochs, t.continues) for n, t in study.trials.items()}


@pytest.fixture
def invented(tmp_path, monkeypatch):
    """An invented search, in which Bayesian optimization takes the best of its start points (seconds a trial else)."""
    monkeypatch.setattr(os, "fsync", lambda file: None)  # no power will fail here
    real = scipy.optimize.minimize

    def minimize(function, x0, *args, **options):
        if options.get("jac"):  # the model's own fit
            return real(function, x0, *args, **options)
        return scipy.optimize.OptimizeResult(x=x0, fun=function(x0))

    monkeypatch.setattr(scipy.optimize, "minimize", minimize)
    return InventedSearch(tmp_path)
