"""The figures of a search show every trial where it was, and tell the best."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from matplotlib.colors import same_color

from tflbt.report import (
    figure_style,
    search_figures,
    search_heat_map,
    search_marks,
    search_parallel,
)
from tflbt.report.figure_style import COLOURS, HALF, WHOLE
from tflbt.report.search_history import HyperParameter, SearchHistory, TrialRow

RATE, BETA, WARMUP = "optimizer.learning_rate", "schedule.beta", "warmup.epochs"
NAN = math.nan


def search(rows, direction="max", objective="val_accuracy", log=(), baseline=None):
    """A search of (status, objective, values) in turn."""
    space = [{"class_name": "Float", "config": {"name": name, "sampling": "log"}} for name in log]
    settings = {"direction": direction, "objective": objective, "space": {"space": space}}
    trials = [TrialRow(n, status, o, v) for n, (status, o, v) in enumerate(rows, start=1)]
    return SearchHistory(settings, trials, baseline)


def grid(rates=(0.5, 1.0, 2.0, 4.0), warmups=(0, 2, 4)):
    """A grid whose objective tells its place; the last one diverged."""
    rows = [
        ("completed", 0.5 + 0.1 * i + 0.01 * j, {RATE: rate, WARMUP: warmup})
        for i, rate in enumerate(rates)
        for j, warmup in enumerate(warmups)
    ]
    return [*rows[:-1], ("diverged", 0.99, rows[-1][2])]


SCATTERED = [
    ("completed", 0.90, {RATE: 0.013, BETA: 0.31}),
    ("completed", 0.97, {RATE: 1.9, BETA: 0.52}),
    ("stopped", 0.94, {RATE: 0.4, BETA: 0.66}),
    ("diverged", NAN, {RATE: 7.7, BETA: 0.45}),
    ("failed", 0.98, {RATE: 5.1, BETA: 0.36}),
    ("running", NAN, {RATE: 0.09, BETA: 0.58}),
]


def drawn(axes, label):
    """Horizontal and vertical values of the line with a label."""
    (line,) = [one for one in axes.lines if one.get_label() == label]
    return list(line.get_xdata()), list(line.get_ydata())


def at_the_bottom(axes):
    """Trials that stand at the bottom: no value of the vertical axis is theirs."""
    return [
        (line.get_marker(), list(line.get_xdata()))
        for line in axes.lines
        if line.get_transform() == axes.get_xaxis_transform() and line.get_marker() != "None"
    ]


# The objective by trial.


def test_statuses_have_markers_of_their_own_and_the_stair_is_the_running_best():
    axes = search_figures.draw(search(SCATTERED))["objective"].axes[0]
    assert drawn(axes, "completed") == ([1, 2], [0.90, 0.97])
    assert drawn(axes, "stopped") == ([3], [0.94])
    assert drawn(axes, "failed") == ([5], [0.98])
    assert drawn(axes, "best so far") == ([1, 2, 3, 4, 5, 6], [0.90] + [0.97] * 5)
    assert at_the_bottom(axes) == [("x", [4]), ("d", [6])]
    (ring,) = [one for one in axes.lines if one.get_fillstyle() == "none"]
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([2], [0.97])
    markers = [marker for marker, _ in search_marks.MARKS.values()]
    assert len(set(markers)) == len(markers) == 5
    assert [text.get_text() for text in axes.texts] == ["97.00%"]
    assert axes.get_xlabel() == "trial" and axes.get_ylabel() == "val accuracy"


def test_the_value_of_the_best_stands_at_the_end_of_its_line():
    recipe = TrialRow(0, "completed", 0.2, {})
    axes = search_figures.draw(search(SCATTERED, baseline=recipe))["objective"].axes[0]
    height = axes.transAxes.inverted().transform(axes.transData.transform((0, 0.97)))[1]
    assert axes.texts[0].get_position()[1] == pytest.approx(height)
    assert drawn(axes, "recipe as it is")[1] == [0.2, 0.2]


def test_the_worst_of_many_trials_is_seen():
    rows = [("completed", 0.9 + n / 1000, {}) for n in range(80)]
    axes = search_figures.draw(search([*rows, ("completed", 0.1, {})]))["objective"].axes[0]
    assert axes.get_ylim()[0] < 0.1


def test_a_recipe_that_broke_has_no_line():
    figure = search_figures.draw(search(SCATTERED, baseline=TrialRow(0, "diverged", 0.2, {})))
    assert "recipe as it is" not in [one.get_label() for one in figure["objective"].axes[0].lines]


def test_a_loss_that_spans_a_lot_has_a_log_axis_and_its_smallest_wins():
    rows = [("completed", value, {RATE: value}) for value in (3.0, 0.01, 0.5)]
    axes = search_figures.draw(search(rows, "min", "val_loss"))["objective"].axes[0]
    assert axes.get_yscale() == "log" and axes.texts[0].get_text() == "0.01"
    assert drawn(axes, "best so far")[1] == [3.0, 0.01, 0.01]


def test_without_an_objective_it_says_so():
    axes = search_figures.draw(search([("failed", NAN, {})]))["objective"].axes[0]
    assert [text.get_text() for text in axes.texts] == ["no trial has an objective"]
    assert at_the_bottom(axes) == [("P", [1])]


# Two hyper-parameters.


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"seed": 1, RATE: 1, BETA: 1, WARMUP: 1}, (RATE, BETA)),
        ({"seed": 1, WARMUP: 1, RATE: 1, BETA: 0}, (RATE, WARMUP)),
        ({"seed": 1, BETA: 1, WARMUP: 1, RATE: 0}, ("seed", BETA)),
        ({"name": "x", "nesterov": True, BETA: 1, "seed": 1}, (BETA, "seed")),
    ],
)
def test_which_two_are_drawn(values, names):
    """A value of 1 is varied, one of 0 is the same in both trials."""
    other = {k: "y" if v == "x" else False if v is True else v * 2 for k, v in values.items()}
    history = search([("completed", 0.5, values), ("completed", 0.6, other)])
    assert tuple(one.name for one in search_heat_map.pair(history)) == names


def test_one_number_alone_has_no_map():
    rows = [("completed", 0.5, {RATE: rate, "name": "x"}) for rate in (1, 2)]
    assert search_heat_map.draw(search(rows)) is None


def test_a_grid_is_drawn_in_annotated_cells():
    (axes,) = search_heat_map.draw(search(grid())).axes
    (mesh,) = [one for one in axes.collections]
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


def test_a_cell_with_several_trials_shows_the_best_of_them():
    rows = grid()
    rows += [("completed", 0.4, rows[0][2]), ("completed", 0.55, rows[0][2])]
    for direction, told in (("max", "55.00%"), ("min", "40.00%")):
        (axes,) = search_heat_map.draw(search(rows, direction)).axes
        assert {text.get_position(): text.get_text() for text in axes.texts}[(0, 0)] == told


def test_a_large_grid_takes_the_whole_width_and_so_does_what_is_beside_it():
    made = search_figures.draw(search(grid(rates=range(1, 9))))
    assert [one.get_figwidth() for one in made.values()] == [WHOLE[0]] * 3
    made = search_figures.draw(search(grid()))
    assert [one.get_figwidth() for one in made.values()] == [HALF[0], HALF[0], WHOLE[0]]


def test_other_trials_are_points_on_a_log_axis_with_crosses():
    axes, bar = search_heat_map.draw(search(SCATTERED, log=[RATE])).axes
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


def test_a_map_of_crosses_alone():
    rows = [("diverged", NAN, {RATE: 10**n, BETA: 0.3 + n / 100}) for n in range(8)]
    (axes,) = search_heat_map.draw(search(rows)).axes
    assert len(axes.lines[0].get_xdata()) == 8 and not axes.collections


@pytest.mark.parametrize(
    ("log", "values", "expected"),
    [
        (False, [1, 20], False),
        (False, [1, 20.5], True),
        (True, [1, 2], True),
        (False, [0, 50], False),
        (True, [-1, 5], False),
        (True, [], False),
    ],
)
def test_what_is_drawn_by_logarithm(log, values, expected):
    assert search_marks.is_log(HyperParameter("a", log=log), values) is expected


# Shades.


@pytest.mark.parametrize("direction", ["max", "min"])
def test_the_better_the_denser(direction):
    rows = [("completed", value, {}) for value in (0.5, 0.7, 0.6)]
    shades = search_marks.shades(search(rows, direction))
    dense = [shades.colours(shades.norm(value))[3] for value in (0.5, 0.6, 0.7)]
    assert dense == sorted(dense, reverse=direction == "min") and len(set(dense)) == 3
    assert shades.extend == "neither"
    assert same_color(shades.colours(0.5)[:3], COLOURS["train"])


def test_an_outlier_does_not_wash_out_the_rest():
    values = [0.90, 0.91, 0.92, 0.93, 0.1]
    shades = search_marks.shades(search([("completed", v, {}) for v in values]))
    # Four times as far from the best, 0.93, as the median, 0.91.
    assert (shades.norm.vmin, shades.norm.vmax) == pytest.approx((0.85, 0.93))
    assert shades.extend == "min"
    losses = [("completed", -v, {}) for v in values]
    shades = search_marks.shades(search(losses, "min"))
    assert (shades.norm.vmin, shades.norm.vmax) == pytest.approx((-0.93, -0.85))
    assert shades.extend == "max"


@pytest.mark.parametrize("direction", ["max", "min"])
def test_a_single_value_is_the_best(direction):
    shades = search_marks.shades(search([("completed", 0.5, {})] * 3, direction))
    assert shades.colours(shades.norm(0.5))[3] == pytest.approx(0.65)


# All hyper-parameters.


def test_a_line_a_trial_and_the_best_on_top():
    rows = [
        ("completed", 0.6, {RATE: 0.01, "optimizer.name": "SGD", "batch_size": 100}),
        ("completed", 0.8, {RATE: 1.0, "optimizer.name": "LARS", "batch_size": 300}),
        ("completed", 0.7, {RATE: 0.1, "optimizer.name": "LARS", "batch_size": 150}),
        ("diverged", 0.9, {RATE: 0.1, "optimizer.name": "SGD", "batch_size": 200}),
        ("running", 0.9, {RATE: 0.1, "optimizer.name": "SGD", "batch_size": 200}),
    ]
    (axes,) = search_parallel.draw(search(rows)).axes
    lines = {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    assert list(lines) == ["trial 1", "trial 3", "trial 4", "trial 2"]
    assert all(list(line.get_xdata()) == [0, 1, 2, 3] for line in lines.values())
    np.testing.assert_allclose(lines["trial 1"].get_ydata(), [0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(lines["trial 2"].get_ydata(), [1, 1, 1, 1])
    np.testing.assert_allclose(lines["trial 3"].get_ydata(), [0.5, 1, 0.25, 0.5])
    broken = lines["trial 4"].get_ydata()
    np.testing.assert_allclose(broken[:3], [0.5, 0, 0.5])
    assert broken[3] < 0 and lines["trial 4"].get_linestyle() == "--"
    widths = {name: line.get_linewidth() for name, line in lines.items()}
    assert max(widths, key=widths.get) == "trial 2"
    texts = [text.get_text() for text in axes.texts]
    assert {"SGD", "LARS", "80.00%", "70.00%", "60.00%", "diverged or failed"} <= set(texts)
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "optimizer.\nlearning_rate",
        "optimizer.\nname",
        "batch_size",
        "val accuracy",
    ]


def test_a_value_that_is_absent_leaves_a_gap():
    rows = [("completed", 0.6, {RATE: 1}), ("completed", 0.8, {RATE: 2, "momentum": 0.9})]
    (axes,) = search_parallel.draw(search(rows)).axes
    (line,) = [one for one in axes.lines if one.get_label() == "trial 1"]
    np.testing.assert_allclose(line.get_ydata(), [0, NAN, 0])


def test_an_objective_beyond_the_shades_stands_at_the_end_which_says_so():
    rows = [("completed", v, {RATE: n}) for n, v in enumerate([0.90, 0.91, 0.92, 0.93, 0.1])]
    (axes,) = search_parallel.draw(search(rows)).axes
    (line,) = [one for one in axes.lines if one.get_label() == "trial 5"]
    assert list(line.get_ydata()) == [1, 0]
    assert "≤ 85.00%" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([64, 128, 256], {0: "64", 1 / 3: "128", 1: "256"}),
        ([64, 16384], {0: "64", 1: "16384"}),
        ([0.5, 0.5], {0.5: "0.5"}),
        ([0.0, 0.01, 0.02, 1.0], {0: "0", 0.5: "0.5", 1: "1"}),
        ([True, False, None], {0: "False", 1: "True"}),
        (["b", "a"], {0: "b", 1: "a"}),
    ],
)
def test_labels_of_an_axis(values, labels):
    found = search_parallel.scale(HyperParameter("any"), values).labels
    assert list(found.values()) == list(labels.values())
    assert list(found) == pytest.approx(list(labels))


def test_choices_keep_the_order_of_the_space():
    one = HyperParameter("name", "Choice", choices=("a", "b", "c"))
    assert search_parallel.scale(one, ["c", "a"]).labels == {0.0: "a", 1.0: "c"}


# All of them.


@pytest.mark.parametrize(
    "rows",
    [
        [("running", NAN, {RATE: 1.0})],
        [("completed", 0.9, {RATE: 1.0, BETA: 0.5})],
        [("completed", 0.9, {})] * 3,
        [("completed", 0.0, {RATE: 1.0, BETA: n}) for n in range(3)],
        [("diverged", NAN, {RATE: n + 1.0, BETA: n}) for n in range(3)],
        [("diverged", 0.1, {RATE: 1.0 * n, "name": "x"}) for n in range(3)],
        [("completed", -1.0 * n, {RATE: 10.0**n, BETA: 10.0**-n}) for n in range(30)],
        [("completed", 1e9, {f"a.very_long_name_{k}": k * n for k in range(9)}) for n in (1, 2)],
        [("completed", 0.5, {RATE: n, BETA: m}) for n in range(12) for m in range(12)],
        SCATTERED,
    ],
)
@pytest.mark.parametrize(("objective", "direction"), [("val_accuracy", "max"), ("loss", "min")])
def test_any_search_is_drawn_without_a_warning(rows, objective, direction):
    history = search(rows, direction, objective, log=[RATE])
    with warnings.catch_warnings(), figure_style.settings():
        warnings.simplefilter("error")
        for figure in search_figures.draw(history).values():
            figure.draw_without_rendering()


def test_a_search_that_has_only_trained_the_recipe_has_no_figures():
    assert search_figures.draw(search([], baseline=TrialRow(0, "completed", 0.9, {}))) == {}
