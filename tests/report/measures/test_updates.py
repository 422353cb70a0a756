"""The figures of what rules measure: each is drawn of its columns, which are no metrics, with title and caption."""

from __future__ import annotations

from tflbt.report import captions, figures
from tflbt.report.measures import updates
from tflbt.runs.history import History
from tflbt.runs.metrics import is_logged_metric


def test_every_figure_is_on_the_page_with_its_words():
    columns = {
        line.column for figure in updates.FIGURES for panel in figure.panels for line in panel.lines
    }
    history = History([{"epoch": n, **dict.fromkeys(columns, 1.0 / n)} for n in (1, 2)])
    drawn = figures.draw(history)
    for figure in updates.FIGURES:
        assert len(drawn[figure.name].axes) == len(figure.panels)
        assert figure.name in captions.WHOLE
        assert captions.title(figure.name, history) == figure.title
        assert captions.caption(figure.name, history).endswith(".")
    assert not any(is_logged_metric(column) for column in columns)


def test_a_run_without_measures_has_none():
    assert set(updates.draw(History([{"epoch": 1, "batch_size": 8}])).values()) == {None}
