"""A search on two ranks that train together."""

from __future__ import annotations

import csv

import numpy as np

import tflbt
from tests.ranks.twins import K
from tflbt.distributed import comm

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")


def test_an_error_on_one_rank_fails_only_its_trial_and_all_ranks_get_the_same_result(
    rank, shared_folder
):
    tried = []

    def build(hp):
        rate = hp.Choice("rate", [0.01, 0.1, 0.05])
        if tried and rate == 0.1 and rank == 1:
            raise RuntimeError("no memory here")
        inputs = K.Input([3])
        model = tflbt.LargeBatchModel(inputs, K.layers.Dense(1)(inputs))
        model.compile(K.optimizers.SGD(rate), "mse")
        return model

    space = tflbt.tuning.space_of(build)
    tried.append(True)
    trainer = tflbt.tuning.HyperModelTrainer(
        build, X, X[:, :1], batch_size=8, epochs=2, validation_data=(X, X[:, :1])
    )
    search = tflbt.tuning.Search("search", space, "val_loss", tuner="GridSearch", verbose=0)
    result = search.run(trainer)
    mine = (result.number, result.values, repr(result.objective), result.trials)
    here, there = comm.gather_objects(mine, "results")
    assert here == there
    assert mine[:2] == (3, {"rate": 0.05})
    with (shared_folder / "search" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["completed", "failed", "completed"]
    assert rows[1]["message"] == "rank 1: RuntimeError: no memory here"
