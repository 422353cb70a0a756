"""A search's trials: what a study hands out, what it goes on with after a kill, which trial wins."""

from __future__ import annotations

import json
import math

import pytest

from tflbt.runs.journal import Journal
from tflbt.tuning.oracle import TUNERS, make_oracle
from tflbt.tuning.study import DONE, WAIT, Study
from tflbt.tuning.trial import Outcome, Trial

NAN = math.nan


def prefixes(study, invented):
    """Files that hold the first 0, 1, 2 ... events of a study's journal."""
    lines = study.journal.path.read_text().splitlines(keepends=True)
    for length in range(len(lines) + 1):
        path = invented.path()
        path.write_text("".join(lines[:length]))
        yield path


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("case", [*TUNERS, "with a baseline", "tiny Hyperband", "tiny Bayesian"])
def test_goes_on_after_any_kill_as_if_there_had_been_none(invented, case, groups):
    tuner, more = {
        "with a baseline": ("Hyperband", {"baseline": True}),
        "tiny Hyperband": ("Hyperband", {"space": invented.tiny}),  # is asked in vain
        "tiny Bayesian": ("BayesianOptimization", {"space": invented.tiny}),  # would repeat a trial
    }.get(case, (case, {}))
    most = 6 if tuner == "BayesianOptimization" and groups < 3 else 8

    def study(path=None):
        return invented.study(tuner, path, groups=groups, max_trials=most, **more)

    whole = study()
    trials = invented.drive(whole)
    statuses = {outcome.status for outcome in whole.outcomes.values()}
    assert {"completed", "diverged", "failed"} == statuses
    for number, path in enumerate(prefixes(whole, invented)):
        events = path.read_text()
        again = study(path)
        assert invented.drive(again, last_first=number % 2 == 1) == trials, events
        assert again.best() == whole.best() and again.next() == DONE
        assert path.read_text().startswith(events)
        ended = [event["trial"] for event in again.journal.events() if event["event"] == "end"]
        assert sorted(ended) == sorted(trials), "a trial ended twice, or never"


@pytest.mark.parametrize("tuner", TUNERS)
def test_the_trials_do_not_depend_on_the_order_in_which_they_end(invented, tuner):
    for groups in (2, 3):
        results = [
            invented.drive(
                invented.study(tuner, groups=groups, baseline=True, max_trials=8), last_first
            )
            for last_first in (False, True)
        ]
        assert results[0] == results[1]
        if tuner in ("RandomSearch", "GridSearch"):
            assert results[0] == invented.drive(invented.study(tuner, baseline=True, max_trials=8))


def test_only_tuners_that_learn_wait_for_a_round(invented):
    for tuner in ("RandomSearch", "GridSearch"):
        study = invented.study(tuner, groups=2, max_trials=5)
        assert [study.next().number for _ in range(4)] == [1, 2, 3, 4]
    for tuner in ("BayesianOptimization", "Hyperband"):
        study = invented.study(tuner, groups=2, max_trials=5)
        assert [study.next().number for _ in range(2)] == [1, 2]
        study.end(2, Outcome("completed", (0.5,)))
        assert study.next() == WAIT
        study.end(1, Outcome("completed", (0.5,)))
        assert study.next().number == 3


def test_a_resumed_search_may_have_other_groups_and_more_trials(invented):
    for tuner in TUNERS:
        path = invented.path()
        first = invented.study(tuner, path, groups=3, max_trials=4)
        begun = [first.next() for _ in range(2)]
        first.end(begun[1].number, Outcome("completed", (0.5,)))
        for groups, most in ((1, 5), (2, 7)):
            trials = invented.drive(invented.study(tuner, path, groups=groups, max_trials=most))
            assert list(trials) == list(range(1, most + 1))
            assert all(trials[trial.number][0] == trial.values for trial in begun)


def test_there_are_no_more_trials_than_wanted(invented):
    study = invented.study(groups=2, max_trials=3)
    assert [study.next().number for _ in range(3)] == [1, 2, 3]
    assert study.next() == DONE  # others still run, but nothing will be left for this group
    study = invented.study("GridSearch", space=invented.small, groups=2)
    for _ in range(5):
        study.next()
    assert study.next() == WAIT  # KerasTuner waits for hyper-parameters that may still turn up
    for number in range(1, 6):
        study.end(number, Outcome("completed", (0.5,)))
    assert study.next() == DONE


def test_a_trial_killed_three_times_without_progress_is_tried_again_at_the_end(invented):
    """The job may have been killed from outside: what it trained may be the best."""
    path = invented.path()
    for attempt in range(3):
        study = invented.study(path=path, max_trials=3)
        trial = study.next()
        assert (trial.number, trial.attempts) == (1, attempt)
    study = invented.study(path=path, max_trials=3)
    for number in (2, 3):
        assert study.next().number == number and 1 in study.running
        study.end(number, Outcome("completed", (0.5,)))
    trial = study.next()
    assert (trial.number, trial.attempts, dict(trial.values)) == (1, 3, study.trials[1].values)
    study.end(1, Outcome("completed", (0.9,)))
    assert study.next() == DONE and study.best() == 1 and study.killed == []


@pytest.mark.parametrize("tuner", ["RandomSearch", "Hyperband", "BayesianOptimization"])
def test_a_trial_killed_six_times_without_progress_is_given_up(invented, tuner):
    """Whatever starts the job again comes to the search's end, with one group and with two."""
    for groups in (1, 2):
        path, starts = invented.path(), 0
        while True:
            study, starts = (
                invented.study(tuner, path=path, max_trials=5, groups=groups),
                starts + 1,
            )
            while (trial := study.next()) not in (WAIT, DONE) and trial.number != 1:
                study.end(trial.number, Outcome("completed", (0.5,)))
            if trial == DONE:
                break
        assert starts == 7 and study.killed == [1] and study.best() == 2
        assert "killed 6 times during this trial" in study.outcomes[1].message
        assert invented.study(tuner, path=path, max_trials=5).outcomes[1] == study.outcomes[1]


def test_a_job_that_kills_the_trials_of_all_its_groups_does_not_end_the_search(invented):
    path = invented.path()
    for _ in range(3):
        study = invented.study(path=path, groups=3)
        assert [study.next().number for _ in range(3)] == [1, 2, 3]
    study = invented.study(path=path, groups=3)
    assert [study.next().number for _ in range(2)] == [4, 5]


def test_a_trial_that_gets_on_may_be_killed_as_often_as_it_likes(invented):
    path = invented.path()
    for safe in (0, 0, 0, 1, 1, 1, 2, 5, 5, 5):
        study = invented.study(path=path, progress=lambda number, safe=safe: safe)
        assert study.next().number == 1
    study = invented.study(path=path, progress=lambda number: 5)
    assert study.next().number == 2 and study.running == [1, 2]


def test_three_errors_in_a_row_end_the_search_but_three_divergences_do_not(invented):
    def drive(study, *statuses):
        for status in statuses:
            number = study.next().number
            study.end(number, Outcome(status, (), message=f"{status} {number}"))

    study = invented.study()
    drive(study, *["diverged"] * 4, "failed", "failed", "completed", "failed", "failed", "diverged")
    drive(study, *["failed"] * 3)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"the last 3 trials failed.* error: failed 13"):
            study.next()
    again = invented.study(path=study.journal.path)  # something may have been mended meanwhile
    assert again.next().number == 14


def test_the_baseline_is_tried_first_and_counts_for_nothing(invented):
    study = invented.study("BayesianOptimization", baseline=True, max_trials=2)
    first = study.next()
    assert (first.number, first.values, first.epochs) == (0, {}, None)
    study.end(0, Outcome("completed", (0.5, 99.0, 1.0)))
    assert study.best() is None and study.value(0) == 99.0 and study.best_epoch(0) == 2
    second = study.next()
    assert (second.number, second.finished) == (1, ())
    study.end(1, Outcome("completed", (0.1,)))
    assert study.best() == 1 and study.next().number == 2 and study.next() == DONE
    assert len(study.oracle.trials) == 2
    beside = invented.study("Hyperband", baseline=True, groups=2)
    assert [beside.next().number for _ in range(3)] == [0, 1, 2]  # nobody waits for it


@pytest.mark.parametrize(("direction", "best"), [("max", 3), ("min", 2)])
def test_the_best_is_the_earliest_of_equals_and_of_those_that_count(invented, direction, best):
    study = invented.study(direction=direction)
    ends = [
        Outcome("completed", (0.5, 0.4)),
        Outcome("stopped", (0.1, NAN, 0.3)),
        Outcome("completed", (0.2, 0.9, 0.9)),
        Outcome("completed", (0.9, 0.1)),
        Outcome("diverged", (5.0, -5.0, NAN)),
        Outcome("failed", (5.0, -5.0)),
        Outcome("completed", (NAN, math.inf)),
        Outcome("completed", ()),
    ]
    assert study.best() is None
    for number, end in enumerate(ends, start=1):
        assert study.next().number == number
        study.end(number, end)
    assert study.best() == best
    assert study.value(3) == {"max": 0.9, "min": 0.2}[direction]
    assert study.best_epoch(3) == {"max": 2, "min": 1}[direction]
    assert study.value(7) is None and study.best_epoch(8) is None and study.value(99) is None
    assert study.value(5) == {"max": 5.0, "min": -5.0}[direction]  # it has one, and does not win


def test_of_equals_the_earlier_wins_though_it_ends_later(invented):
    study = invented.study(groups=2)
    for number in (study.next().number, study.next().number):
        study.end(3 - number, Outcome("completed", (0.5,)))
    assert list(study.outcomes) == [2, 1] and study.best() == 1


def test_only_completed_trials_reach_the_stopping_rule(invented):
    study = invented.study(in_rounds=True, groups=2, max_trials=6)
    first, second = study.next(), study.next()
    assert first.finished == second.finished == ()
    study.end(2, Outcome("completed", (0.2, 0.3)))
    study.end(1, Outcome("stopped", (0.1,)))
    assert [study.next().finished for _ in range(2)] == [((0.2, 0.3),)] * 2
    study.end(4, Outcome("completed", (0.4,)))
    resumed = invented.study(path=study.journal.path, in_rounds=True, groups=2, max_trials=6)
    again = resumed.next()
    assert (again.number, again.finished) == (3, ((0.2, 0.3),))  # as if it had not been killed
    resumed.end(3, Outcome("completed", (0.3, NAN)))
    results = resumed.next().finished
    assert [len(history) for history in results] == [2, 2, 1] and math.isnan(results[1][1])


def test_a_trial_ends_once_and_only_if_it_runs(invented):
    study = invented.study()
    with pytest.raises(ValueError, match=r"number=1 is no running trial: \[\] are"):
        study.end(1, Outcome("completed"))
    study.next()
    study.end(1, Outcome("completed", (0.5,)))
    events = study.journal.events()
    with pytest.raises(ValueError, match="number=1 is no running trial"):
        study.end(1, Outcome("failed"))
    assert study.journal.events() == events and study.outcomes[1].status == "completed"
    with pytest.raises(ValueError, match="status='lost' must be one of 'completed', 'stopped'"):
        Outcome("lost")


def changed(path, number, **values):
    """Puts other values into an event of a journal."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[number].update(values)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("tuner", TUNERS)
def test_the_journal_of_another_search_is_refused_and_untouched(invented, tuner):
    study = invented.study(tuner, max_trials=6)
    invented.drive(study)
    path = study.journal.path
    text = path.read_bytes()
    others = [{"space": invented.small}] + [{"seed": 1}] * (tuner != "GridSearch")
    for other in others:
        with pytest.raises(ValueError, match=r"journal_0.jsonl: trial 1 had .* but now the tuner"):
            invented.study(tuner, path, **other)
    for number, event in enumerate(text.splitlines()):  # the last new one is of a model's making
        if json.loads(event)["event"] == "new":
            last = number
    changed(path, last, values={"learning_rate": 0.2, "beta": 0.5, "momentum": 0.9})
    with pytest.raises(ValueError, match="trial 6 had .*momentum"):
        invented.study(tuner, path)
    assert path.read_bytes() != text


def test_a_journal_that_is_none_of_a_search_is_named(invented):
    whole = {"event": "new", "trial": 1, "values": {}}
    end = {
        "event": "end",
        "trial": 1,
        "status": "failed",
        "history": [],
        "seconds": 1,
        "message": "",
    }
    wrong = [
        {"history": "abc"},
        {"history": [None]},
        {"history": [10**400]},
        {"seconds": "x"},
        {"message": None},
    ]
    for events, message in [
        ([{"event": "start"}], "{'event': 'start'} is not an event of a search"),
        ([{"event": "new", "trial": 1}], "is not an event of a search"),
        ([{"event": "begin", "trial": 1, "epochs": 0}], "'begin' of trial 1, which is not running"),
        ([{**whole, "trial": 2}], "trial 2 had {}, but now"),
        ([{"event": ["new"], "trial": 1}], "is not an event of a search"),
        *(([{**end, **change}], "is not an event of a search") for change in wrong),
    ]:
        path = invented.path()
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
        with pytest.raises(ValueError, match=message) as error:
            invented.study(path=path)
        assert str(error.value).startswith(str(path))


def test_a_search_goes_on_where_another_machine_rounds_otherwise(invented):
    study = invented.study("BayesianOptimization", max_trials=5)
    invented.drive(study)
    path = study.journal.path
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    last = max(n for n, line in enumerate(lines) if line["event"] == "new")
    values = lines[last]["values"]
    values["learning_rate"] = math.nextafter(values["learning_rate"], 0)
    changed(path, last, values=values)
    again = invented.study("BayesianOptimization", path, max_trials=7)
    assert again.trials[5].values == values
    assert isinstance(again.next(), Trial)


def test_the_class_of_an_oracle_does_as_well_as_its_name(invented):
    import keras_tuner

    class Mine(keras_tuner.oracles.RandomSearchOracle):
        pass

    study = Study(make_oracle(Mine, invented.space, "loss"), Journal(invented.path()), max_trials=2)
    assert invented.drive(study) == invented.drive(invented.study(max_trials=2))
    assert (study.objective, study.direction) == ("loss", "min")
