"""Parts of a page: text is escaped, and what is absent leaves nothing behind."""

from __future__ import annotations

import pytest

from tflbt.report import page_parts
from tflbt.report.tiles import Tile


def test_a_document_has_its_title_and_parts_in_order():
    text = page_parts.document("a < b", "<p>first</p>", "", "<p>second</p>")
    assert "<title>a &lt; b</title>" in text
    assert "<main>\n<p>first</p>\n<p>second</p>\n</main>" in text


def test_a_header_with_notices():
    assert page_parts.header("<i>", "about", ["<b>"], "<p>more</p>") == (
        '<header><h1>&lt;i&gt;</h1><p>about</p><p>more</p><p class="notice">&lt;b&gt;</p></header>'
    )


@pytest.mark.parametrize(("number", "columns"), [(3, 3), (4, 4), (6, 3), (8, 4)])
def test_tiles_fill_their_rows_and_the_first_stands_out(number, columns):
    text = page_parts.tile_list([Tile("Epochs", "30", "of 60")] * number)
    assert text.count("<dd") == 2 * number and text.count("class=first") == 1
    assert f"--columns: {columns}" in text


def test_figures_have_captions_that_are_read_aloud():
    figure = page_parts.figure("<svg/>", "Loss", "a < b", whole=True)
    assert figure.startswith("<figure class=whole>") and "<svg/>" in figure
    assert figure.count("a &lt; b") == 2
    assert page_parts.figures("Training", [figure, figure]).count("<figure") == 2
    assert page_parts.figures("Training", []) == ""


def test_tables_of_rows_of_cells():
    cells = [page_parts.cell(value) for value in (0.123456, 1234, "<", None, True)]
    assert cells == [
        "<td>0.12346</td>", "<td>1,234</td>", "<td>&lt;</td>", "<td></td>", "<td>True</td>",
    ]  # fmt: skip
    assert page_parts.cell("a b", words=True) == '<td class="words">a b</td>'
    assert page_parts.row(cells[:1], mark=True) == "<tr class=mark><td>0.12346</td></tr>"
    text = page_parts.table(["<epoch>"], [page_parts.row(cells[:1])])
    assert '<th scope="col">&lt;epoch&gt;</th>' in text and text.count("<tr>") == 2


def test_pairs_are_folded_and_an_empty_one_is_absent():
    text = page_parts.pairs("Environment", "environment.json", {"ranks": 2, "<": ["<"]})
    assert text.startswith("<details><summary>Environment <span>environment.json</span>")
    assert '<th scope="row">&lt;</th><td>&lt;</td>' in text
    assert page_parts.pairs("Environment", "environment.json", {}) == ""
    assert page_parts.fold("Trials", "", "", unfolded=True).startswith("<details open>")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), ([], "none"), (["a", "b"], "a b"), ([0, 1.5], "[0, 1.5]"), ("sgd", "sgd")],
)
def test_settings_as_a_person_writes_them(value, text):
    assert page_parts.setting(value) == text
