"""The headline of a search: the best objective, its trial, the statuses and the time."""

from __future__ import annotations

import math

from tflbt.report import search_tiles
from tflbt.report.search_history import SearchHistory, TrialRow


def test_tiles():
    rows = [
        TrialRow(1, "completed", 0.25, {}, 8, 9, 30.0),
        TrialRow(2, "stopped", 0.5, {}, 2, 3, 60.0),
        TrialRow(3, "diverged", 0.1, {}),
        TrialRow(4, "running", 0.1, {}),
    ]
    settings = {"objective": "val_loss", "direction": "min", "max_trials": None}
    tiles = search_tiles.tiles(SearchHistory(settings, rows))
    assert [tuple(tile) for tile in tiles] == [
        ("Best validation loss", "0.25", "the smallest of 2 trials"),
        ("Best trial", "1", "epoch 8 of 9"),
        ("Trials", "3", "1 completed, 1 stopped, 1 diverged, 1 running"),
        ("Time", "1 min 30 s", "45.0 s per trial"),
    ]
    baseline = TrialRow(0, "completed", 0.3, {}, seconds=30.0)
    settings = {**settings, "ranks": 8, "ranks_per_trial": 2}
    tiles = search_tiles.tiles(SearchHistory(settings, rows, baseline))
    assert tiles[0].note == "was 0.3 with the recipe as it is"
    assert tiles[3][1:] == ("2 min 0 s", "40.0 s per trial, 4 at a time")


def test_nothing_is_claimed_without_a_result():
    settings = {"objective": "val_loss", "direction": "min", "max_trials": 2}
    rows = [TrialRow(1, "diverged", math.nan, {})]
    assert [tuple(tile) for tile in search_tiles.tiles(SearchHistory(settings, rows))] == [
        ("Best validation loss", "none", "no trial ended with an objective"),
        ("Best trial", "none", ""),
        ("Trials", "1 of 2", "1 diverged"),
    ]
