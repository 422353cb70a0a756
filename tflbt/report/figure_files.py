"""Saves figures as files, and prepares them for a page."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from tflbt.report import figure_style
from tflbt.report.figure_style import COLOURS
from tflbt.runs import atomic_file

_PNG_DPI = 160


def save_all(figures: Mapping[str, Figure], folder: str | os.PathLike[str]) -> None:
    """Saves each figure as `name.png` and `name.svg` in a folder, which is made if missing.

    Raises:
        OSError: If the folder cannot be made or a file cannot be written; names it.
    """
    folder = Path(folder)
    with atomic_file.naming(folder, "cannot make the folder"):
        folder.mkdir(parents=True, exist_ok=True)
    with figure_style.settings():
        for name, figure in figures.items():
            for kind in ("png", "svg"):
                atomic_file.write(folder / f"{name}.{kind}", _content(figure, name, kind))


def _content(figure: Figure, name: str, kind: str) -> bytes:
    """Returns a file's bytes, which are the same for the same figure."""
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(
            content,
            format=kind,
            dpi=_PNG_DPI,
            facecolor="white" if kind == "png" else "none",
            metadata={"Date": None} if kind == "svg" else None,
        )
    return content.getvalue()


def inline_svg(text: str, name: str) -> str:
    """Returns the text of an SVG file that `save_all` wrote as an `<svg>` element for a page.

    The prolog, metadata and name spaces are removed; identifiers are prefixed with the figure's name, so that two
    figures do not clash; colours become CSS variables that fall back to the colour itself.

    Example:
        >>> inline_svg('<?xml?><svg xmlns="a"><g id="x" style="fill: #0072b2"/></svg>', "loss")
        '<svg aria-hidden="true"><g id="loss-x" style="fill: var(--train, #0072b2)"/></svg>'
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{name}-", text)
    for role, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{role}, {colour})")
    return text.replace("<svg", '<svg aria-hidden="true"', 1).strip()
