"""Figures become files, whole or not at all, and parts of a page that do not clash."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from tflbt.report import figure_files
from tflbt.report.figure_style import COLOURS


def a_figure():
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([1, 2], [1, 2], color=COLOURS["train"])
    return figure


def test_each_figure_is_saved_as_png_and_svg(tmp_path):
    figure_files.save_all({"a": a_figure(), "b": a_figure()}, tmp_path / "new" / "folder")
    files = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert files == ["a.png", "a.svg", "b.png", "b.svg"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot make the folder.*file/below"):
        figure_files.save_all({"a": a_figure()}, tmp_path / "file" / "below")


def test_inline_figures_share_no_identifier_and_name_their_colours(tmp_path):
    figure_files.save_all({"a": a_figure()}, tmp_path)
    text = (tmp_path / "a.svg").read_text()
    first, second = (figure_files.inline_svg(text, name) for name in ("first", "second"))
    assert first.startswith('<svg aria-hidden="true"') and first.endswith("</svg>")
    assert "<metadata" not in first and "xmlns" not in first and "<?xml" not in first
    assert f"var(--train, {COLOURS['train']})" in first
    assert 'id="first-' in first and "url(#first-" in first
    assert first.replace("first-", "second-") == second
