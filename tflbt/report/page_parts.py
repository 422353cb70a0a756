"""Parts of the pages of a run, a search and a comparison: header, tiles, figures, tables. Text is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from tflbt.report.page_style import CSS
from tflbt.report.tiles import Tile


def document(title: str, *parts: str) -> str:
    """Returns a whole HTML document of parts in HTML, from top to bottom."""
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
    """Returns the top of a page: a title, a line about it, HTML, and notices that must not be missed."""
    shown = "".join(f'<p class="notice">{escape(notice)}</p>' for notice in notices)
    return f"<header><h1>{escape(title)}</h1><p>{escape(about)}</p>{more}{shown}</header>"


def tile_list(tiles: Iterable[Tile]) -> str:
    """Returns the headline numbers, of which the first stands out."""
    tiles = list(tiles)
    shown = [
        f"<div{' class=first' if place == 0 else ''}><dt>{escape(tile.name)}</dt>"
        f'<dd class="value">{escape(tile.value)}</dd>'
        f'<dd class="note">{escape(tile.note)}</dd></div>'
        for place, tile in enumerate(tiles)
    ]
    columns = 4 if len(tiles) > 6 or len(tiles) == 4 else 3
    return f'<dl class="tiles" style="--columns: {columns}">{"".join(shown)}</dl>'


def figures(title: str, shown: Sequence[str]) -> str:
    """Returns a section of the figures that `figure` returned, two in a row; "" if there is none."""
    if not shown:
        return ""
    return f'<h2>{escape(title)}</h2>\n<div class="figures">{"".join(shown)}</div>'


def figure(drawing: str, title: str, caption: str, whole: bool = False) -> str:
    """Returns an `<svg>` element, which is not escaped, with title and caption; `whole` gives it a row of its own."""
    return (
        f"<figure{' class=whole' if whole else ''}><h3>{escape(title)}</h3>"
        f'<div class="drawing" role="img" aria-label="{escape(f"{title}. {caption}")}">'
        f"{drawing}</div><figcaption>{escape(caption)}</figcaption></figure>"
    )


def table(columns: Sequence[str], rows: Iterable[str]) -> str:
    """Returns a table of rows that `row` returned."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def row(cells: Iterable[str], mark: bool = False) -> str:
    """Returns a row of cells that `cell` returned, coloured if it is marked."""
    return f"<tr{' class=mark' if mark else ''}>{''.join(cells)}</tr>"


def cell(value: Any, words: bool = False) -> str:
    """Returns a table cell with a shortened number, text or nothing (None); `words` is for long sentences."""
    opening = '<td class="words">' if words else "<td>"
    if isinstance(value, (str, bool)):
        return f"{opening}{escape(str(value))}</td>"
    if isinstance(value, float):
        return f"{opening}{value:.5g}</td>"
    return f"{opening}{'' if value is None else f'{value:,}'}</td>"


def fold(title: str, note: str, inside: str, unfolded: bool = False) -> str:
    """Returns a section that opens and closes, and scrolls in both directions."""
    return (
        f"<details{' open' if unfolded else ''}>"
        f"<summary>{escape(title)} <span>{escape(note)}</span></summary>"
        f'<div class="scroll" tabindex="0">{inside}</div></details>'
    )


def pairs(title: str, file: str, values: Mapping[str, Any]) -> str:
    """Returns a folded table of names and values, with the file that they are from; "" if there are none."""
    if not values:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(setting(value))}</td></tr>'
        for name, value in values.items()
    )
    return fold(title, file, f'<table class="pairs"><tbody>{rows}</tbody></table>')


def shown(value: Any, missing: str = "") -> str:
    """Returns a hyper-parameter's value, a float with the digits that matter."""
    if value is None:
        return missing
    return f"{value:.6g}" if isinstance(value, float) else setting(value)


def setting(value: Any) -> str:
    """Returns a JSON value as a person would write it, such as "none" for None."""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return " ".join(value) if value else "none"
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
