"""What a command line wants to see of several runs, drawn into folders."""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from tflbt.report import figure_files
from tflbt.report.measures import diffusion_figure, margin_figure
from tflbt.report.several import curves, ladder, sweep
from tflbt.report.several.groups import Group, by_seed


@dataclasses.dataclass(frozen=True)
class Views:
    """The figures of several runs together that `tflbt.report_run` makes.

    Args:
        curves: Folder for a figure per column: all runs over `over`.
        sweep: Folder for the final values against `against`, a line per variant.
        ladder: Folder for the final values as bars.
        diffusion: Folder for the distances from the initial weights, a line per variant.
        margins: Folder for margins beside losses, a panel per variant.
        columns: Columns of `metrics.csv`; default: for curves the usual ones, for final values the metric.
        over: The horizontal axis of curves: "epoch", "update", "sample" or "second".
        against: The setting on the horizontal axis of a sweep: "batch_size", "epochs" or any other number.
    """

    curves: str | None = None
    sweep: str | None = None
    ladder: str | None = None
    diffusion: str | None = None
    margins: str | None = None
    columns: Sequence[str] = ()
    over: str = "epoch"
    against: str = "batch_size"

    def draw(
        self, directories: Sequence[str | os.PathLike[str]], baseline: str | None = None
    ) -> list[str]:
        """Draws what is wanted of the runs in these directories; returns the paths of the PNG files.

        Raises:
            ValueError: If runs do not have what a figure needs; names it.
            OSError: If a run cannot be read, or a figure not be written.
        """
        folders = (self.curves, self.sweep, self.ladder, self.diffusion, self.margins)
        if not any(folders):
            return []
        groups = by_seed(directories)
        target = by_seed([baseline]) if baseline else []
        paths = []
        drawing = (self._curves, self._sweep, self._ladder, self._diffusion, self._margins)
        for folder, figures in zip(folders, drawing):
            if folder:
                drawn = dict(figures(groups, target))
                figure_files.save_all(drawn, folder)
                paths += [os.path.join(folder, f"{name}.png") for name in drawn]
        return paths

    def _curves(self, groups: Sequence[Group], _: Sequence[Group]) -> Iterator[tuple[str, Figure]]:
        for column in self.columns or curves.columns_of(groups):
            yield f"curves_{column}", curves.draw(groups, column, self.over)

    def _sweep(
        self, groups: Sequence[Group], target: Sequence[Group]
    ) -> Iterator[tuple[str, Figure]]:
        for column in self._finals(groups):
            best = _final(target, column)
            yield f"sweep_{column}", sweep.draw(groups, column, self.against, best)

    def _ladder(
        self, groups: Sequence[Group], target: Sequence[Group]
    ) -> Iterator[tuple[str, Figure]]:
        for column in self._finals(groups):
            yield f"ladder_{column}", ladder.draw(groups, column, _final(target, column))

    def _diffusion(
        self, groups: Sequence[Group], _: Sequence[Group]
    ) -> Iterator[tuple[str, Figure]]:
        yield "diffusion", diffusion_figure.compare(groups)

    def _margins(self, groups: Sequence[Group], _: Sequence[Group]) -> Iterator[tuple[str, Figure]]:
        yield "margins", margin_figure.compare(groups)

    def _finals(self, groups: Sequence[Group]) -> Sequence[str]:
        """The columns of which final values are drawn."""
        metrics = dict.fromkeys(group.metric for group in groups)
        return self.columns or [metric for metric in metrics if metric] or ["loss"]


def _final(groups: Sequence[Group], column: str) -> float | None:
    """The baseline's final value; None without a baseline."""
    return statistics.fmean(groups[0].finals(column)) if groups else None
