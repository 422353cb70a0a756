"""What the pages of a run, a search and a comparison are made of: header, tiles, figures, tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from tflbt.report.page_style import CSS
from tflbt.report.tiles import Tile


def document(title: str, *parts: str) -> str:
    """Returns a page that refers to nothing outside itself.

    Args:
        title: Text.
        *parts: HTML, top to bottom.

    Returns:
        A whole HTML document.

    Example:
        >>> document("a < b", "<p>text</p>").count("a &lt; b")
        1
    """
    inside = "\n".join(part for part in parts if part)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<main>
{inside}
</main>
</body>
</html>
"""


def header(title: str, about: str, notices: Iterable[str] = (), more: str = "") -> str:
    """Returns the top of a page.

    Args:
        title: Text.
        about: A line of text below it.
        notices: Lines of text that must not be missed; default none.
        more: HTML before the notices; default none.

    Returns:
        HTML.

    Example:
        >>> header("digits", "Large-batch training")
        '<header><h1>digits</h1><p>Large-batch training</p></header>'
    """
    shown = "".join(f'<p class="notice">{escape(notice)}</p>' for notice in notices)
    return f"<header><h1>{escape(title)}</h1><p>{escape(about)}</p>{more}{shown}</header>"


def tile_list(tiles: Iterable[Tile]) -> str:
    """Returns the headline numbers, as a list of terms.

    Args:
        tiles: Each with a name, a value and a note; the first stands out.

    Returns:
        HTML.

    Example:
        >>> tile_list([Tile("Epochs", "30", "of 60")]).count("<dd")
        2
    """
    found = list(tiles)
    shown = [
        f"<div{' class=first' if place == 0 else ''}><dt>{escape(tile.name)}</dt>"
        f'<dd class="value">{escape(tile.value)}</dd>'
        f'<dd class="note">{escape(tile.note)}</dd></div>'
        for place, tile in enumerate(found)
    ]
    columns = 4 if len(found) > 6 or len(found) == 4 else 3
    return f'<dl class="tiles" style="--columns: {columns}">{"".join(shown)}</dl>'


def figures(title: str, shown: Sequence[str]) -> str:
    """Returns a section of figures, two in a row.

    Args:
        title: Text.
        shown: What `figure` returned.

    Returns:
        HTML; nothing if there is no figure.

    Example:
        >>> figures("Training", [])
        ''
    """
    if not shown:
        return ""
    return f'<h2>{escape(title)}</h2>\n<div class="figures">{"".join(shown)}</div>'


def figure(drawing: str, title: str, caption: str, whole: bool = False) -> str:
    """Returns a figure with its title and caption.

    Args:
        drawing: An `<svg>` element, which is not escaped.
        title: Text.
        caption: Text.
        whole: True if it takes a whole row of the page; default False.

    Returns:
        HTML.

    Example:
        >>> figure("<svg/>", "Loss", "Mean loss of each epoch.").count("Mean loss")
        2
    """
    return (
        f"<figure{' class=whole' if whole else ''}><h3>{escape(title)}</h3>"
        f'<div class="drawing" role="img" aria-label="{escape(f"{title}. {caption}")}">'
        f"{drawing}</div><figcaption>{escape(caption)}</figcaption></figure>"
    )


def table(columns: Sequence[str], rows: Iterable[str]) -> str:
    """Returns a table with a header.

    Args:
        columns: Text.
        rows: What `row` returned.

    Returns:
        HTML.

    Example:
        >>> table(["epoch"], [row([cell(1)])]).count("<tr>")
        2
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def row(cells: Sequence[str], mark: bool = False) -> str:
    """Returns a row of a table.

    Args:
        cells: What `cell` returned.
        mark: True to colour it; default False.

    Returns:
        HTML.

    Example:
        >>> row([cell(1)], mark=True)
        '<tr class=mark><td>1</td></tr>'
    """
    return f"<tr{' class=mark' if mark else ''}>{''.join(cells)}</tr>"


def cell(value: Any, words: bool = False) -> str:
    """Returns a cell of a table, numbers shortened.

    Args:
        value: A number, text, or None for an empty cell.
        words: True for a sentence, which may take several lines; default False.

    Returns:
        HTML.

    Example:
        >>> cell(0.123456), cell(1234), cell("<"), cell(None)
        ('<td>0.12346</td>', '<td>1,234</td>', '<td>&lt;</td>', '<td></td>')
    """
    opening = '<td class="words">' if words else "<td>"
    if isinstance(value, (str, bool)):
        return f"{opening}{escape(str(value))}</td>"
    if isinstance(value, float):
        return f"{opening}{value:.5g}</td>"
    return f"{opening}{'' if value is None else f'{value:,}'}</td>"


def fold(title: str, note: str, inside: str, unfolded: bool = False) -> str:
    """Returns a part of a page that opens and closes, and scrolls in both directions.

    Args:
        title: Text.
        note: Text beside it.
        inside: HTML.
        unfolded: True if it is open at first; default False.

    Returns:
        HTML.

    Example:
        >>> fold("Epochs", "3 rows", "<table/>", unfolded=True).startswith("<details open>")
        True
    """
    return (
        f"<details{' open' if unfolded else ''}>"
        f"<summary>{escape(title)} <span>{escape(note)}</span></summary>"
        f'<div class="scroll" tabindex="0">{inside}</div></details>'
    )


def pairs(title: str, file: str, values: Mapping[str, Any]) -> str:
    """Returns a table of names and values, folded.

    Args:
        title: Text.
        file: Where they are from.
        values: What JSON can hold, by name.

    Returns:
        HTML; nothing if there are no values.

    Example:
        >>> pairs("Environment", "environment.json", {"ranks": 2}).count("environment.json")
        1
    """
    if not values:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(setting(value))}</td></tr>'
        for name, value in values.items()
    )
    return fold(title, file, f'<table class="pairs"><tbody>{rows}</tbody></table>')


def setting(value: Any) -> str:
    """Writes a setting as a person does.

    Args:
        value: What JSON can hold.

    Returns:
        Text.

    Example:
        >>> setting(None), setting(["a", "b"]), setting([0, 1.5]), setting("sgd")
        ('none', 'a b', '[0, 1.5]', 'sgd')
    """
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return " ".join(value) if value else "none"
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
