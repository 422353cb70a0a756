"""The map of a search over two hyper-parameters: cells of a grid, or points."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tflbt.report import (
    search_heat_map,
)

RATE, BETA, WARMUP = "optimizer.learning_rate", "schedule.beta", "warmup.epochs"
NAN = math.nan


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"seed": 1, RATE: 1, BETA: 1, WARMUP: 1}, (RATE, BETA)),
        ({"seed": 1, WARMUP: 1, RATE: 1, BETA: 0}, (RATE, WARMUP)),
        ({"seed": 1, BETA: 1, WARMUP: 1, RATE: 0}, ("seed", BETA)),
        ({"name": "x", "nesterov": True, BETA: 1, "seed": 1}, (BETA, "seed")),
    ],
)
def test_which_two_are_drawn(search, values, names):
    """A value of 1 is varied, one of 0 is the same in both trials."""
    other = {k: "y" if v == "x" else False if v is True else v * 2 for k, v in values.items()}
    history = search([("completed", 0.5, values), ("completed", 0.6, other)])
    assert tuple(parameter.name for parameter in search_heat_map.pair(history)) == names


def test_one_number_alone_has_no_map(search):
    rows = [("completed", 0.5, {RATE: rate, "name": "x"}) for rate in (1, 2)]
    assert search_heat_map.draw(search(rows)) is None


def test_a_grid_is_drawn_in_annotated_cells(search, grid):
    (axes,) = search_heat_map.draw(search(grid())).axes
    (mesh,) = axes.collections
    expected = np.array([[0.5 + 0.1 * i + 0.01 * j for i in range(4)] for j in range(3)])
    cells = mesh.get_array().reshape(3, 4)
    assert cells.mask.tolist() == [[False] * 4, [False] * 4, [False, False, False, True]]
    np.testing.assert_allclose(cells.compressed(), expected.ravel()[:-1])
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts[(0, 0)] == "50.00%" and texts[(2, 1)] == "71.00%" and texts[(3, 2)] == "×"
    assert len(texts) == 12
    (frame,) = axes.patches  # around the best, 0.81; the one that diverged had 0.99
    assert frame.get_xy() == (3 - 0.47, 1 - 0.47)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5", "1", "2", "4"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "2", "4"]
    # A cell's middle is where its text stands.
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, 0], [-0.5, -0.5])
    np.testing.assert_allclose(corners[-1, -1], [3.5, 2.5])


def test_a_cell_with_several_trials_shows_the_best_of_them(search, grid):
    rows = grid()
    rows += [("completed", 0.4, rows[0][2]), ("completed", 0.55, rows[0][2])]
    for direction, expected in (("max", "55.00%"), ("min", "40.00%")):
        (axes,) = search_heat_map.draw(search(rows, direction)).axes
        assert {text.get_position(): text.get_text() for text in axes.texts}[(0, 0)] == expected


def test_other_trials_are_points_on_a_log_axis_with_crosses(search, scattered):
    axes, bar = search_heat_map.draw(search(scattered, log=[RATE])).axes
    (points,) = axes.collections
    np.testing.assert_allclose(
        points.get_offsets(), [[0.013, 0.31], [0.4, 0.66], [1.9, 0.52]]
    )  # the best one last: on top
    np.testing.assert_allclose(points.get_array(), [0.90, 0.94, 0.97])
    crosses, running, ring = axes.lines
    assert crosses.get_marker() == "x" and running.get_marker() == "d"
    assert list(zip(*crosses.get_data())) == [(7.7, 0.45), (5.1, 0.36)]
    assert list(zip(*running.get_data())) == [(0.09, 0.58)]
    assert list(zip(*ring.get_data())) == [(1.9, 0.52)] and ring.get_fillstyle() == "none"
    assert axes.get_xscale() == "log" and axes.get_yscale() == "linear"
    assert axes.get_xlabel() == f"{RATE} (log scale)" and axes.get_ylabel() == BETA
    for low, value, high in zip(axes.viewLim.min, (0.013, 0.31), axes.viewLim.max):
        assert low < value < high
    assert bar.get_ylabel() == "val accuracy"


def test_a_map_of_crosses_alone(search):
    rows = [("diverged", NAN, {RATE: 10**n, BETA: 0.3 + n / 100}) for n in range(8)]
    (axes,) = search_heat_map.draw(search(rows)).axes
    assert len(axes.lines[0].get_xdata()) == 8 and not axes.collections


def test_half_the_cells_make_a_grid(search):
    cells = [("completed", 0.5, {RATE: i + 1.0, BETA: j}) for i in range(2) for j in range(4)]
    history = search(cells)
    two = search_heat_map.pair(history)
    assert search_heat_map.is_grid(history, two)
    scattered = [("completed", 0.5, {RATE: n + 1.0, BETA: n}) for n in range(4)]
    assert not search_heat_map.is_grid(search(scattered), two)
    wide = [("completed", 0.5, {RATE: n + 1.0, BETA: m}) for n in range(13) for m in (0, 1)]
    assert not search_heat_map.is_grid(search(wide), two)
