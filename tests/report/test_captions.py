"""Every figure has a title and a caption that say what the run has in it."""

from __future__ import annotations

import pytest

from tflbt.report import captions, figures
from tflbt.runs.history import History


def history(**columns):
    return History([{"epoch": n, **columns} for n in (1, 2)])


def test_titles_follow_the_run():
    assert captions.title("accuracy", history(top_5=0.5)) == "Top 5"
    assert captions.title("batch_size", history(batch_size=8)) == "Batch size"
    assert captions.title("loss", history()) == "Loss"
    assert captions.title("other", history()) == "other"


@pytest.mark.parametrize(
    ("name", "columns", "words"),
    [
        ("loss", {}, "Mean loss of each epoch."),
        ("loss", {"phase": "exploration"}, "exploration ends"),
        ("accuracy", {"val_top_5": 0.5}, "The top 5 on the training samples"),
        ("learning_rate", {}, "dashed lines mark its decays"),
        ("learning_rate", {"phase": "exploration"}, "loss and eigenvalue have risen together"),
        ("eigenvalue", {"phase": "exploration"}, "output layer"),
        ("eigenvalue", {}, "layers that were measured"),
        ("adversarial_ratio", {}, "adversarial samples"),
        ("stability", {}, "2 / learning rate."),
        ("stability", {"stability_limit_momentum": 1.0}, "the optimizer's momentum"),
        ("time_account", {}, "The seconds of each epoch"),
        ("batch_size", {}, "sub-batches. Dotted lines"),
        ("batch_size", {"eigenvalue": 1.0}, "; below, the Hessian eigenvalue that was measured."),
    ],
)
def test_captions_follow_the_run(name, columns, words):
    assert words in captions.caption(name, history(**columns))


def test_every_figure_of_a_run_has_a_title_of_its_own(two_phase_rows):
    names = list(figures.draw(History(two_phase_rows)))
    titles = [captions.title(name, History(two_phase_rows)) for name in names]
    assert len(set(titles)) == len(names) and not set(titles) & set(names)
