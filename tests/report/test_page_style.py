"""A dark page gives every role of the figures a colour of its own."""

from __future__ import annotations

from tflbt import report
from tflbt.report import RunDirectory
from tflbt.report.figure_style import COLOURS
from tflbt.report.page_style import CSS


def test_dark_mode_gives_every_role_a_colour(two_phase_rows, tmp_path):
    dark = CSS.split("prefers-color-scheme: dark")[1].split("* {")[0]
    assert all(f"--{role}:" in dark for role in COLOURS)
    run = RunDirectory(tmp_path)
    for row in two_phase_rows:
        run.metrics.append(row)
    text = report.write(run).read_text()
    for role, colour in COLOURS.items():
        assert colour not in text.replace(f"var(--{role}, {colour})", "").split("</style>")[1]
