"""Saves figures as files, and prepares them for a page."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from tflbt.report import figure_style
from tflbt.report.figure_style import COLOURS
from tflbt.runs import atomic_file, received

_PNG_DPI = 160


def save_all(figures: Mapping[str, Figure], folder: str | os.PathLike[str]) -> None:
    """Saves each figure as `name.png` and `name.svg` in a folder, which is made if missing."""
    folder = received.place(folder)
    with atomic_file.naming(folder, "cannot make the folder"):
        folder.mkdir(parents=True, exist_ok=True)
    with figure_style.settings():
        for name, figure in figures.items():
            for kind in ("png", "svg"):
                atomic_file.write(folder / f"{name}.{kind}", _content(figure, name, kind))
                figure.set_layout_engine("none")  # it takes as long as to draw, and is done


def save_inline(figures: Mapping[str, Figure], folder: str | os.PathLike[str]) -> dict[str, str]:
    """Saves the figures as `save_all` does and returns each as an `<svg>` element for a page."""
    save_all(figures, folder)
    texts = {name: (received.place(folder) / f"{name}.svg").read_text("utf-8") for name in figures}
    return {name: inline_svg(text, name) for name, text in texts.items()}


def _content(figure: Figure, name: str, kind: str) -> bytes:
    """Returns a file's bytes, which are the same for the same figure."""
    content = io.BytesIO()
    look: dict[str, Any] = {"facecolor": "white"}
    if kind == "svg":
        look = {"facecolor": "none", "metadata": {"Date": None}}
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(content, format=kind, dpi=_PNG_DPI, **look)
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
