"""KerasTuner's oracles, made so that what they answer depends on nothing but seed, number and what they were told."""

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

TUNERS = ("RandomSearch", "BayesianOptimization", "Hyperband", "GridSearch")
# Oracles whose trials do not depend on how others ended.
INDEPENDENT = (keras_tuner.oracles.RandomSearchOracle, keras_tuner.oracles.GridSearchOracle)
# An oracle's arguments that are the search's own.
_OURS = {
    "objective",
    "hyperparameters",
    "seed",
    "max_trials",
    "allow_new_entries",
    "tune_new_entries",
    "max_retries_per_trial",
    "max_consecutive_failed_trials",
}
# What Hyperband changes even when it has no trial to give.
_BRACKETS = ("_brackets", "_current_bracket", "_current_iteration")


def make_oracle(
    tuner: str | type[keras_tuner.Oracle],
    space: keras_tuner.HyperParameters,
    objective: str,
    direction: str | None = None,
    seed: int = 0,
    epochs: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> keras_tuner.Oracle:
    """KerasTuner's oracle of a tuner, without files, output or a limit of trials of its own; `ask` is to ask it.

    Args:
        tuner: "RandomSearch", "BayesianOptimization", "Hyperband" or "GridSearch", or an oracle's class.
        space: What to search.
        objective: A column of the epochs' logs, such as "val_accuracy".
        direction: "max" or "min"; None: KerasTuner's word on it.
        seed: 0 or more. The same seed gives the same trials.
        epochs: Of a full training; Hyperband's `max_epochs`.
        options: More arguments of the oracle, such as `factor` of Hyperband.

    Returns:
        The oracle.

    Raises:
        ValueError: If the tuner, an option or the objective's direction is unknown.

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
    oracle.max_trials = None  # the study's to count; KerasTuner's default is 10
    oracle.verbose = 0
    oracle.save = oracle._save_trial = lambda *_: None  # the journal is what lasts
    return oracle


def _spread(seed: int) -> int:
    """A seed for KerasTuner, for which 0 means any, and neighbouring ones give partly the same trials."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed={seed!r} must be a whole number, at least 0.")
    return int(np.random.SeedSequence(seed).generate_state(1)[0]) // 2 + 1


def ask(
    oracle: keras_tuner.Oracle, number: int, known: Mapping[str, Any] | None = None
) -> keras_tuner.engine.trial.Trial:
    """Asks an oracle for a trial; an answer that is none ("IDLE" or "STOPPED") leaves the oracle as it was.

    Its random numbers are drawn anew from the seed and the trial's number: how often an oracle was asked in vain
    depends on the speed of others.

    Args:
        oracle: Of `make_oracle`.
        number: Of the trial, from 1.
        known: The values that it gave to this trial before, in a search that goes on. Where Bayesian optimization has
            a model, they are taken as they are: fitting it again takes seconds a trial, and may end elsewhere on a
            machine that rounds otherwise.

    Returns:
        KerasTuner's trial; its `status` is "RUNNING", "IDLE" (ask again when one has ended) or "STOPPED" (no more).

    Example:
        >>> space = keras_tuner.HyperParameters()
        >>> _ = space.Choice("batch_size", [64, 128])
        >>> oracle = make_oracle("GridSearch", space, "val_accuracy")
        >>> [ask(oracle, number).hyperparameters.values for number in (1, 2)]
        [{'batch_size': 64}, {'batch_size': 128}]
    """
    drawn = np.random.SeedSequence([oracle.seed, number]).generate_state(1)
    oracle._seed_state = int(drawn[0])
    before = {
        name: copy.deepcopy(getattr(oracle, name)) for name in _BRACKETS if hasattr(oracle, name)
    }
    if isinstance(oracle, keras_tuner.oracles.BayesianOptimizationOracle):
        oracle.populate_space = functools.partial(_bayesian_values, oracle, known)
    asked = oracle.create_trial(str(number))
    if asked.status != "RUNNING":
        for name, value in before.items():
            setattr(oracle, name, value)
    elif isinstance(oracle, keras_tuner.oracles.GridSearchOracle):
        oracle._populate_next.append(asked.trial_id)  # no need to wait for its end
    return asked


def _bayesian_values(
    oracle: keras_tuner.oracles.BayesianOptimizationOracle,
    known: Mapping[str, Any] | None,
    trial_id: str,
) -> dict[str, Any]:
    """What Bayesian optimization proposes; a random trial where KerasTuner would repeat one."""
    space = oracle.hyperparameters.space
    points = oracle.num_initial_points or max(3 * len(space), 3)
    fits_a_model = sum(one.status == "COMPLETED" for one in oracle.trials.values()) >= points
    if fits_a_model and known is not None and set(known) <= {one.name for one in space}:
        return {"status": "RUNNING", "values": dict(known)}
    oracle._random_state.seed(oracle._seed_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of a fit to few points; nothing to do
        if fits_a_model and oracle.ongoing_trials:
            _fit_to_the_ended(oracle)
        answer = type(oracle).populate_space(oracle, trial_id)
    if fits_a_model and oracle._duplicate(answer["values"]):
        answer = oracle._random_populate_space()
    return answer


def _fit_to_the_ended(oracle: keras_tuner.oracles.BayesianOptimizationOracle) -> None:
    """Fits the model that guesses how running trials end; KerasTuner takes that of the last trial asked for."""
    running, oracle.ongoing_trials = oracle.ongoing_trials, {}
    trials = oracle.trials
    oracle.trials = {name: one for name, one in trials.items() if one.status == "COMPLETED"}
    try:
        x, y = oracle._vectorize_trials()
    finally:
        oracle.ongoing_trials, oracle.trials = running, trials
    oracle.gpr.fit(x, y)
