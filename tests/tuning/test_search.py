"""A search from Python: its arguments are checked before it claims a directory, and it finds the best."""

from __future__ import annotations

import keras_tuner
import pytest

from tflbt.tuning import one_trial
from tflbt.tuning.search import Search

pytestmark = pytest.mark.usefixtures("settled_before")


@pytest.fixture
def space():
    space = keras_tuner.HyperParameters()
    space.Choice("rate", [0.1, 0.2, 0.4])
    return space


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop_hopeless": "mean"}, "stop_hopeless='mean' must be one of 'never', 'median'"),
        ({"stop_hopeless": "median"}, "needs epochs"),
        ({"keep_checkpoints": "none"}, "keep_checkpoints='none' must be one of 'best', 'all'"),
        ({"max_trials": 0}, "max_trials=0 must be a whole number, at least 1"),
        ({"max_trials": None, "tuner": "RandomSearch"}, "max_trials=None, but RandomSearch"),
        ({"tuner": "Sklearn"}, "tuner='Sklearn' must be one of"),
        ({"direction": "up"}, "direction='up' must be one of 'min', 'max'"),
        ({"seed": -1}, "seed=-1 must be a whole number"),
    ],
)
def test_wrong_arguments_claim_no_directory(tmp_path, space, options, message):
    with pytest.raises(ValueError, match=message):
        Search(tmp_path / "new", space, **{"max_trials": 3, "verbose": 0, **options})
    assert not (tmp_path / "new").exists()


def test_a_hyper_parameter_named_like_a_column_is_refused(tmp_path, space):
    space.Boolean("status")
    with pytest.raises(ValueError, match="space has 'status', which is the name of a column"):
        Search(tmp_path / "new", space, max_trials=3)


def test_the_best_of_the_grid_wins_and_errors_are_recorded(tmp_path, space):
    def train(trial, folder, callbacks):
        rate = trial.values["rate"]
        if rate == 0.2:
            raise ValueError("not this one")
        callbacks[0].set_model(keras_tuner.HyperParameters())  # anything with attributes
        callbacks[0].on_epoch_end(0, {"val_loss": 1 - rate})

    best = []
    options = {"tuner": "GridSearch", "verbose": 0}
    search = Search(
        tmp_path, space, "val_loss", write_best=lambda *news: best.append(news), **options
    )
    assert search.direction == "min"
    result = search.run(train)
    assert (result.values, result.objective, result.trials) == ({"rate": 0.4}, 0.6, 3)
    assert [value for _, value in best] == [0.9, 0.6]
    again = Search(tmp_path, space, "val_loss", resume=True, **options)
    assert again.run(train) == result
    with pytest.raises(FileExistsError):
        Search(tmp_path, space, "val_loss", **options)


def test_a_kill_behind_a_trials_training_does_not_repeat_it(tmp_path, space, monkeypatch):
    """Freeing its graphs takes seconds, in which its result is safe already."""
    trained, options = [], {"tuner": "GridSearch", "verbose": 0}

    def train(trial, folder, callbacks):
        trained.append(trial.number)
        callbacks[0].set_model(keras_tuner.HyperParameters())
        callbacks[0].on_epoch_end(0, {"val_loss": trial.values["rate"]})

    def kill():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(one_trial, "free_left_graphs", kill)
        Search(tmp_path, space, "val_loss", **options).run(train)
    Search(tmp_path, space, "val_loss", resume=True, **options).run(train)
    assert trained == [1, 2, 3]


def test_three_errors_in_a_row_end_the_search(tmp_path, space):
    def train(trial, folder, callbacks):
        raise ValueError("no such file")

    search = Search(tmp_path, space, "val_loss", tuner="GridSearch", verbose=0)
    with pytest.raises(ValueError, match="the last 3 trials failed.*no such file"):
        search.run(train)
