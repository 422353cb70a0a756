"""Every tuner by name: what it proposes, and that this depends on its seed and the results alone."""

from __future__ import annotations

import itertools

import keras_tuner
import pytest

from tflbt.tuning.oracle import TUNERS, ask, make_oracle
from tflbt.tuning.study import DONE
from tflbt.tuning.trial import Outcome


@pytest.mark.parametrize("tuner", TUNERS)
def test_every_tuner_proposes_as_many_different_trials_of_the_space_as_wanted(invented, tuner):
    study = invented.study(tuner, max_trials=13)
    trials = invented.drive(study)
    assert list(trials) == list(range(1, 14)) and study.next() == DONE
    seen = set()
    for values, _, continues in trials.values():
        assert 0.01 <= values["learning_rate"] <= 1.0 and values["beta"] in (0.3, 0.5, 0.7)
        assert {name for name in values if "tuner/" not in name} == {"learning_rate", "beta"}
        assert all(type(value) in (float, int, str) for value in values.values())
        if continues is None:
            seen.add((values["learning_rate"], values["beta"]))
    assert len(seen) == sum(continues is None for _, _, continues in trials.values())


@pytest.mark.parametrize("tuner", TUNERS)
def test_the_same_seed_gives_the_same_trials(invented, tuner):
    results = {
        seed: invented.drive(invented.study(tuner, seed=seed, max_trials=6)) for seed in (0, 1, 2)
    }
    for seed in (0, 1):
        assert invented.drive(invented.study(tuner, seed=seed, max_trials=6)) == results[seed]
    rates = [
        [values["learning_rate"] for values, _, _ in results[seed].values()] for seed in (0, 1)
    ]
    if tuner == "GridSearch":
        assert results[0] == results[1] == results[2]
    else:
        assert not set(rates[0]) & set(rates[1]), "neighbouring seeds share trials"
        assert results[0] != results[2]


def test_grid_search_covers_the_grid_once_each_and_begins_with_the_defaults(invented):
    space = keras_tuner.HyperParameters()
    space.Choice("beta", [0.3, 0.5, 0.7], default=0.5)
    space.Int("warmup", 0, 4, step=2, default=2)
    space.Choice("name", ["a", "b"])
    with space.conditional_scope("name", ["b"]):
        space.Boolean("nesterov")
    for groups in (1, 2):
        trials = invented.drive(invented.study("GridSearch", space=space, groups=groups))
        values = [tried for tried, _, _ in trials.values()]
        assert values[0] == {"beta": 0.5, "warmup": 2, "name": "a"}
        tails = [
            {"name": "a"},
            *({"name": "b", "nesterov": nesterov} for nesterov in (False, True)),
        ]
        grid = [
            {"beta": beta, "warmup": warmup, **tail}
            for beta, warmup, tail in itertools.product([0.3, 0.5, 0.7], [0, 2, 4], tails)
        ]
        assert len(values) == len(grid) and all(point in values for point in grid)


def test_a_random_trial_depends_on_seed_and_number_alone(invented):
    def oracle():
        return make_oracle("RandomSearch", invented.space, "val_accuracy")

    same = oracle()
    trials = [ask(same, number) for number in range(1, 6)]
    assert ask(oracle(), 5).hyperparameters.values == trials[-1].hyperparameters.values


def test_what_bayesian_optimization_guesses_of_running_trials_is_guessed_again(
    invented, monkeypatch
):
    targets = []

    def second_of_a_round(known):
        study = invented.study("BayesianOptimization", max_trials=3)
        study.oracle.gpr.n_restarts_optimizer = 2
        invented.drive(study)
        for number in study._unreported:
            study._report(number)
        fit = study.oracle.gpr.fit
        monkeypatch.setattr(study.oracle.gpr, "fit", lambda x, y: targets.append(y) or fit(x, y))
        first = ask(study.oracle, 4, known).hyperparameters.values
        ask(study.oracle, 5)
        return first

    values = second_of_a_round(None)
    live = targets[-1]
    assert len(live) == 4 and second_of_a_round(values) == values
    assert list(targets[-1]) == list(live)


def test_an_answer_in_vain_leaves_the_oracle_as_it_was(invented):
    oracle = make_oracle(
        "Hyperband", invented.small, "val_accuracy", "max", epochs=4, options={"factor": 2}
    )
    answers = []
    for number in range(1, 12):
        before = repr((oracle._brackets, oracle._current_bracket))
        answer = ask(oracle, number)
        answers.append(answer.status)
        if answer.status != "RUNNING":
            assert repr((oracle._brackets, oracle._current_bracket)) == before
    assert "IDLE" in answers and answers.count("RUNNING") >= 4


def hyperband(invented, ends):
    """The trials of a Hyperband study whose trials end as `ends` says, and the study."""
    study = invented.study("Hyperband")
    while (trial := study.next()) != DONE:
        study.end(trial.number, ends(trial))
    return study.trials, study


def test_hyperband_doubles_the_epochs_of_the_better_half(invented):
    trials, study = hyperband(
        invented, lambda trial: Outcome("completed", (trial.values["learning_rate"],))
    )
    # Brackets of KerasTuner for 4 epochs and factor 2: 4, 2, 1 trials; 3, 2; 3.
    assert [trial.epochs for trial in trials.values()] == [1] * 4 + [2] * 2 + [4] + [2] * 3 + [
        4
    ] * 5
    first = sorted(range(1, 5), key=lambda n: -trials[n].values["learning_rate"])
    assert {trials[5].continues, trials[6].continues} == set(first[:2])
    assert trials[7].continues in (5, 6)
    assert trials[trials[7].continues].continues == first[0]
    assert [n for n, trial in trials.items() if trial.continues is None] == [
        1, 2, 3, 4, 8, 9, 10, 13, 14, 15,
    ]  # fmt: skip
    for trial in trials.values():
        if trial.continues is not None:
            for name in ("learning_rate", "beta"):
                assert trial.values[name] == trials[trial.continues].values[name]
    assert study.best() == max(trials, key=lambda n: (trials[n].values["learning_rate"], -n))


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_hyperband_fills_its_brackets_though_trials_fail_and_prefers_those_that_do_not(
    invented, status
):
    def ends(trial):
        if trial.number in (1, 3, 8, 9):
            return Outcome(status, (9.0,), message="no")
        return Outcome("completed", (0.5,))

    trials, _ = hyperband(invented, ends)
    assert len(trials) == 15
    assert {trials[5].continues, trials[6].continues} == {2, 4}
    assert {trials[11].continues, trials[12].continues} == {10, 8}


@pytest.mark.parametrize("tuner", TUNERS)
@pytest.mark.parametrize("groups", [1, 2])
def test_the_end_of_a_small_space_ends_the_search(invented, tuner, groups):
    study = invented.study(tuner, space=invented.small, groups=groups)
    trials = invented.drive(study)
    rates = [values["learning_rate"] for values, _, continues in trials.values() if not continues]
    assert len(rates) == len(set(rates)) and set(rates) <= {0.01, 0.1, 0.5, 0.8, 1.0}
    assert len(rates) == 5 or tuner == "Hyperband"
    assert study.next() == DONE and not study.running


def test_bayesian_optimization_stays_away_from_where_trials_fail(invented):
    def rates(ends):
        study = invented.study(
            "BayesianOptimization", tuner_options={"num_initial_points": 5}, max_trials=11
        )
        study.oracle.gpr.n_restarts_optimizer = 5
        while (trial := study.next()) != DONE:
            study.end(trial.number, ends(trial.values["learning_rate"]))
        scores = {
            n: study.oracle.trials[study._proposals[n].trial_id].score for n in study._reported
        }
        return [trial.values["learning_rate"] for trial in study.trials.values()], scores, study

    tempted, _, _ = rates(lambda rate: Outcome("completed", (rate,)))
    assert sum(rate > 0.4 for rate in tempted[5:]) >= 3, "nothing tempts it to a large rate"

    def falls_apart(rate):
        if rate > 0.2:
            return Outcome("diverged", (rate, float("nan")))
        return Outcome("completed", (rate,))

    wary, scores, study = rates(falls_apart)
    assert any(rate > 0.2 for rate in wary[:5]), "it has never failed"
    assert sum(rate > 0.2 for rate in wary[5:]) <= 1
    good = [study.value(n) for n in scores if study.outcomes[n].counts]
    for number, score in scores.items():
        if not study.outcomes[number].counts:
            assert score < min(good) and score == pytest.approx(min(good))


def test_bayesian_optimization_goes_on_without_fitting_the_old_trials_again(invented, monkeypatch):
    study = invented.study("BayesianOptimization", max_trials=8)
    trials = invented.drive(study)
    again = invented.study("BayesianOptimization", study.journal.path, max_trials=8)
    assert invented.trials(again) == trials
    fits = []
    gpr = type(again.oracle.gpr)
    monkeypatch.setattr(gpr, "fit", lambda self, x, y: fits.append(len(x)))
    invented.study("BayesianOptimization", study.journal.path, max_trials=8)
    assert not fits


def test_what_no_oracle_takes_is_named(invented):
    def oracle(tuner="RandomSearch", objective="val_accuracy", **more):
        return make_oracle(tuner, invented.space, objective, **more)

    for arguments, message in [
        ({"tuner": "Sklearn"}, "tuner='Sklearn' must be one of 'RandomSearch', 'Bayes"),
        ({"tuner": "Hyperband", "options": {"factr": 3}}, "'factr'.* it has factor, hyperband_"),
        ({"options": {"max_trials": 3}}, "'max_trials'.* it has none"),
        ({"tuner": "Hyperband", "options": {"factor": 1}}, "Hyperband for .*factor"),
        ({"direction": "up"}, "direction='up' must be one of 'min', 'max'"),
        (
            {"objective": "val_my_own"},
            "objective='val_my_own' does not say .* give direction='max' or",
        ),
        ({"seed": -1}, "seed=-1 must be a whole number"),
        ({"seed": True}, "seed=True must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            oracle(**arguments)
    assert oracle(objective="val_loss").objective.direction == "min"
    assert oracle(objective="val_auc").objective.direction == "max"
    assert oracle("Hyperband", epochs=20).max_epochs == 20
    assert oracle(keras_tuner.oracles.RandomSearchOracle).max_trials is None
