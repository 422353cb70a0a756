"""KerasTuner's oracles, whose answers depend only on the seed, the trial's number and the results so far."""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import keras_tuner
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from tflbt import checks
from tflbt.runs import directions

TUNERS = ("RandomSearch", "BayesianOptimization", "Hyperband", "GridSearch")
# Oracles whose trials do not depend on how others ended.
INDEPENDENT = (keras_tuner.oracles.RandomSearchOracle, keras_tuner.oracles.GridSearchOracle)
# An oracle's arguments that the search sets itself: those that every oracle has.
_OURS = set(inspect.signature(keras_tuner.Oracle).parameters)
# Hyperband changes these even when it has no trial.
_BRACKETS = ("_brackets", "_current_bracket", "_current_iteration")


def make_oracle(
    tuner: str | type[keras_tuner.Oracle],
    space: keras_tuner.HyperParameters,
    objective: str,
    direction: str | None = None,  # as the objective's name says it
    seed: int = 0,
    epochs: int | None = None,  # of a full training: Hyperband's `max_epochs`
    options: Mapping[str, Any] | None = None,  # further arguments of the oracle's class
) -> keras_tuner.Oracle:
    """Returns a tuner's oracle without files, output or a limit of trials of its own; ask it by `ask`."""
    kind: Any = tuner
    if isinstance(tuner, str):
        checks.one_of("tuner", tuner, TUNERS)
        kind = getattr(keras_tuner.oracles, f"{tuner}Oracle")
    known = inspect.signature(kind).parameters
    arguments: dict[str, Any] = {"max_epochs": epochs} if "max_epochs" in known and epochs else {}
    for name, value in (options or {}).items():
        if name not in known or name in _OURS:
            raise ValueError(
                f"tuner_options has {name!r}, which {tuner} does not take: it has "
                f"{', '.join(sorted(set(known) - _OURS)) or 'none'}."
            )
        arguments[name] = value
    if direction is None:
        direction = directions.of_name(objective)
    if direction is None:
        raise ValueError(
            f"objective={objective!r} does not say whether its largest or its smallest value is best: give "
            "direction='max' or direction='min' (tune: --direction, or config.directions of the recipe)."
        )
    checks.one_of("direction", direction, ("min", "max"))
    try:
        oracle = kind(
            objective=keras_tuner.Objective(objective, direction),
            hyperparameters=space,
            seed=_spread(seed),
            allow_new_entries=False,
            tune_new_entries=False,
            **arguments,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{tuner} for objective={objective!r}: {error}") from error
    oracle.max_trials = None  # the study counts them; KerasTuner's default is 10
    oracle.verbose = 0
    oracle.save = oracle._save_trial = lambda *_: None  # the journal is the record
    return oracle


def _spread(seed: int) -> int:
    """Returns a seed for KerasTuner, for which 0 means any seed, and neighbouring seeds give partly the same trials."""
    checks.whole("seed", seed, at_least=0)
    return int(np.random.SeedSequence(seed).generate_state(1)[0]) // 2 + 1


def ask(
    oracle: keras_tuner.Oracle, number: int, known: Mapping[str, Any] | None = None
) -> keras_tuner.engine.trial.Trial:
    """Asks an oracle for a trial (from 1); if it has none ("IDLE" or "STOPPED"), the oracle is left as it was.

    Random numbers depend only on the seed and the trial's number, because the number of unanswered requests varies with
    timing. `known` are the values that this trial got before, in a resumed search. If Bayesian optimization has a
    model, they are taken as they are: fitting it again takes seconds per trial, and may differ on a machine that rounds
    otherwise.
    """
    oracle._seed_state = int(np.random.SeedSequence([oracle.seed, number]).generate_state(1)[0])
    before = {n: copy.deepcopy(getattr(oracle, n)) for n in _BRACKETS if hasattr(oracle, n)}
    if isinstance(oracle, keras_tuner.oracles.BayesianOptimizationOracle):
        oracle.populate_space = functools.partial(_bayesian_values, oracle, known)
    trial = oracle.create_trial(str(number))
    if trial.status != "RUNNING":
        for name, value in before.items():
            setattr(oracle, name, value)
    elif isinstance(oracle, keras_tuner.oracles.GridSearchOracle):
        oracle._populate_next.append(trial.trial_id)  # no need to wait for its end
    return trial


def _bayesian_values(
    oracle: keras_tuner.oracles.BayesianOptimizationOracle,
    known: Mapping[str, Any] | None,
    trial_id: str,
) -> dict[str, Any]:
    """Returns the proposal of Bayesian optimization; a random trial if KerasTuner would repeat one."""
    space = oracle.hyperparameters.space
    points = oracle.num_initial_points or max(3 * len(space), 3)
    fits_a_model = sum(t.status == "COMPLETED" for t in oracle.trials.values()) >= points
    if fits_a_model and known is not None and set(known) <= {parameter.name for parameter in space}:
        return {"status": "RUNNING", "values": dict(known)}
    oracle._random_state.seed(oracle._seed_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # few points are hard to fit
        if fits_a_model and oracle.ongoing_trials:
            _fit_to_the_ended(oracle)
        answer = type(oracle).populate_space(oracle, trial_id)
    if fits_a_model and oracle._duplicate(answer["values"]):
        answer = oracle._random_populate_space()
    return answer


def _fit_to_the_ended(oracle: keras_tuner.oracles.BayesianOptimizationOracle) -> None:
    """Fits the model that guesses how running trials end; KerasTuner uses that of the last request."""
    running, oracle.ongoing_trials = oracle.ongoing_trials, {}
    trials = oracle.trials
    oracle.trials = {key: t for key, t in trials.items() if t.status == "COMPLETED"}
    try:
        x, y = oracle._vectorize_trials()
    finally:
        oracle.ongoing_trials, oracle.trials = running, trials
    oracle.gpr.fit(x, y)
