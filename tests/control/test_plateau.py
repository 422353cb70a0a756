"""Tests of `Plateau`: when a loss counts as flat."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tflbt.control import Plateau
from tflbt.control.plateau import patience_of_budget


def flat_by_definition(losses: list[float], patience: int, min_delta: float) -> bool:
    """Looks back over all epochs: is the last improvement `patience` epochs ago or more?"""
    last = 0
    best = math.inf
    for epoch, loss in enumerate(losses, 1):
        if loss < best - min_delta:
            best, last = loss, epoch
    return len(losses) - last >= patience


@pytest.mark.parametrize("seed", range(100))
def test_plateau_is_what_looking_back_says(seed):
    random = np.random.default_rng(seed)
    patience, min_delta = int(random.integers(1, 5)), float(random.choice([0.0, 0.1]))
    losses = [float(loss) for loss in np.round(random.normal(size=30), 1)]
    losses[int(random.integers(30))] = math.nan
    plateau = Plateau(patience, min_delta)
    for epoch, loss in enumerate(losses, 1):
        assert plateau.update(loss) == flat_by_definition(losses[:epoch], patience, min_delta)


def test_nan_is_no_improvement_and_spoils_nothing():
    plateau = Plateau(2)
    assert [plateau.update(loss) for loss in (1.0, math.nan, 0.5, math.nan, math.nan)] == [
        False
    ] * 4 + [True]
    assert plateau.best == 0.5


def test_nan_from_the_first_epoch_is_flat():
    plateau = Plateau(2)
    assert [plateau.update(math.nan) for _ in range(2)] == [False, True]


def test_the_same_loss_again_is_no_improvement():
    plateau = Plateau(1)
    assert [plateau.update(loss) for loss in (1.0, 1.0)] == [False, True]


def test_an_improvement_of_min_delta_exactly_is_none():
    plateau = Plateau(1, min_delta=0.5)
    assert [plateau.update(loss) for loss in (1.0, 0.5, 0.25)] == [False, True, False]


def test_the_paper_waits_for_five_percent_of_the_budget():
    for epochs in range(1, 1001):
        assert patience_of_budget(epochs) == max(1, -(-epochs // 20))  # in whole numbers


@pytest.mark.parametrize("arguments", [{"patience": 0}, {"patience": -1}, {"patience": 1.5}])
def test_wrong_patience_is_named(arguments):
    with pytest.raises(ValueError, match="patience="):
        Plateau(**arguments)


@pytest.mark.parametrize("min_delta", [-0.1, math.nan])
def test_wrong_min_delta_is_named(min_delta):
    with pytest.raises(ValueError, match="min_delta="):
        Plateau(1, min_delta)
