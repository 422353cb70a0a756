"""Final values against a setting: the points, the bars of deviation, the baseline and what diverged."""

from __future__ import annotations

import numpy as np
import pytest

from tflbt.report.several import sweep
from tflbt.report.several.groups import by_seed


def test_points_means_and_target(sweep_runs):
    (axes,) = sweep.draw(by_seed(sweep_runs), "val_accuracy", baseline=0.9).axes
    lars, sgd = (bars.lines[0] for bars in axes.containers)
    assert list(lars.get_xdata()) == [64, 128, 256] and list(sgd.get_xdata()) == [64, 128]
    np.testing.assert_allclose(lars.get_ydata(orig=False), [0.9, 0.93, 0.8])
    segment = axes.containers[0].lines[2][0].get_segments()[1]
    spread = np.std([0.92, 0.94], ddof=1)
    np.testing.assert_allclose(segment[:, 1], [0.93 - spread, 0.93 + spread])
    crosses = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "x"]
    assert crosses == [[], [256]]
    (target,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert target.get_ydata()[0] == pytest.approx(0.995 * 0.9)


def test_what_differs_at_one_setting_is_a_variant(make_run):
    runs = [make_run("lars", size, 0.9, rate=size / 64) for size in (64, 128)]
    assert list(sweep.lines(by_seed(runs), "val_accuracy")) == ["lars"]  # scaled with the batch
    runs += [make_run("lars", size, 0.8, rate=9.0) for size in (64, 128)]
    found = sweep.lines(by_seed(runs), "val_accuracy")
    assert [name for name in found if name.endswith("rate=9.0")] == ["lars rate=9.0"]
    with pytest.raises(ValueError, match=r"^against='name': .*'lars' there, not a number"):
        sweep.lines(by_seed(runs), "val_accuracy", "name")
    with pytest.raises(ValueError, match="^columns='val_loss': none"):
        sweep.draw(by_seed(runs), "val_loss")


def test_what_is_measured_has_its_slope_in_the_legend(make_run):
    groups = by_seed([make_run("sgd", size, 0.9) for size in (64, 128, 320)])
    (axes,) = sweep.draw(groups, "updates").axes
    (bars,) = axes.containers
    assert bars.get_label().startswith("sgd\nslope -1.000 ± ") and axes.get_yscale() == "log"
    (axes,) = sweep.draw(groups, "val_accuracy").axes
    assert axes.containers[0].get_label() == "sgd"
