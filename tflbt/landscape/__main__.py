"""Draws the loss between the ends of runs, along their top eigenvectors, or around the end of one.

python -m tflbt.landscape --of=LARGE_BATCH,SMALL_BATCH --workdir=FOLDER
python -m tflbt.landscape --of=RUN,RUN --cut=1,11,21 --workdir=FOLDER
python -m tflbt.landscape --of=RUN --random --workdir=FOLDER
horovodrun -np 4 python -m tflbt.landscape ...

Surface: the plane through the initial weights and the ends of two runs, which need the same seed and
checkpoint.initial=True (Figs 1, 9 and 10 of the ABS paper). Cuts: the loss along the top eigenvector of the whole
Hessian after some epochs, a line per run, which need checkpoint.keep_epochs (its Fig. 11). Random: two random
directions whose filters are as long as the network's (Li et al. 2018). Ranks share the points. FOLDER gets the numbers
(landscape.json) and figures.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from absl import flags

from tflbt import command_line

_RUNS = flags.DEFINE_list("of", None, "Run directories of tflbt.train.")
_CUT = flags.DEFINE_list("cut", [], "Epochs at which to cut along the top eigenvector.")
_RANDOM = flags.DEFINE_bool("random", False, "Random directions around the end of the one run.")
_POINTS = flags.DEFINE_integer("points", 21, "Points in each direction.")
_LOW = flags.DEFINE_float("low", None, "Where they begin; default -0.2, of cuts -0.5, random -1.")
_HIGH = flags.DEFINE_float("high", None, "Where they end; default 1.2, of cuts 0.5, random 1.")
_SAMPLES = flags.DEFINE_integer("samples", 2048, "Training samples, the first of the data set.")
_SUB_BATCH_SIZE = flags.DEFINE_integer("sub_batch_size", 256, "Samples in memory at a time.")
_STATISTICS = flags.DEFINE_enum(
    "statistics", "re-estimate", ["re-estimate", "interpolate"], "BatchNorm's, between two ends."
)
_LOG = flags.DEFINE_bool("logarithmic", False, "Draw the logarithm of the loss.")
_SEED = flags.DEFINE_integer("direction_seed", 0, "Of the random directions.")


def main() -> None:
    """Draws what the flags say."""
    runs, folder = _RUNS.value or [], command_line.WORKDIR.value or ""
    kind = "cuts" if _CUT.value else "random" if _RANDOM.value else "surface"
    needed = {"surface": 2, "random": 1}.get(kind)
    if needed and len(runs) != needed:
        raise ValueError(f"--of={','.join(runs)}: a {kind} landscape is of {needed} run(s).")
    low, high = {"surface": (-0.2, 1.2), "cuts": (-0.5, 0.5), "random": (-1.0, 1.0)}[kind]
    landscape(
        kind,
        runs,
        folder,
        epochs=[int(epoch) for epoch in _CUT.value],
        points=_POINTS.value,
        low=low if _LOW.value is None else _LOW.value,
        high=high if _HIGH.value is None else _HIGH.value,
        statistics=_STATISTICS.value,
        log=_LOG.value,
        seed=_SEED.value,
        samples=_SAMPLES.value,
        sub_batch_size=_SUB_BATCH_SIZE.value,
        data_dir=command_line.DATA_DIR.value,
    )


def landscape(
    kind: str,
    runs: list[str],
    folder: str,
    *,
    epochs: list[int],
    points: int,
    low: float,
    high: float,
    statistics: str,
    log: bool,
    seed: int,
    **options: Any,
) -> None:
    """Evaluates a landscape on all ranks, writes it on the chief and prints where."""
    from tflbt.distributed import comm
    from tflbt.recipes.landscapes import Grid, RunsOnSamples

    comm.init()
    grid = Grid(points, low, high)
    networks = RunsOnSamples(runs, **options)
    names = _names([(run.name, run.path.resolve().name) for run in networks.runs])
    about: dict[str, Any] = {"kind": kind, "runs": [str(run) for run in runs], **options}
    if kind == "cuts":
        about["epochs"] = epochs
        about["cuts"] = networks.cuts(epochs, grid.values)
    else:
        found = (
            networks.between(grid, statistics) if kind == "surface" else networks.around(grid, seed)
        )
        about.update(dataclasses.asdict(grid), statistics=statistics, seed=seed)
        about["losses"] = found.tolist()
    comm.on_chief(lambda: _write(folder, about, names, log), "tflbt.landscape.write")


def _names(runs: list[tuple[str, str]]) -> list[str]:
    """Returns what tells runs apart: the variants of their recipes, the recipes, or the folders.

    Example:
        >>> _names([("a:small", "1"), ("a:large", "2")]), _names([("a:lars", "1"), ("b:lars", "2")])
        (['small', 'large'], ['a:lars', 'b:lars'])
        >>> _names([("a:lars", "1"), ("a:lars", "2")])
        ['1', '2']
    """
    ways = zip(*((name.rpartition(":")[2], name, folder) for name, folder in runs))
    found = [list(names) for names in ways]
    return next((names for names in found if len(set(names)) == len(runs)), found[-1])


def _write(folder: str, about: dict[str, Any], names: list[str], log: bool) -> None:
    """Writes the numbers and the figure."""
    from tflbt.report import figure_files
    from tflbt.report.measures import landscape_figure
    from tflbt.runs import atomic_file, received
    from tflbt.runs.config import to_json

    kind = about["kind"]
    if kind == "cuts":
        figure = landscape_figure.cuts(about["epochs"], names, about["cuts"])
    else:
        values = np.linspace(about["low"], about["high"], about["points"])
        labels, marks = ("first direction", "second direction"), {names[0]: (0.0, 0.0)}
        if kind == "surface":
            labels = (f"towards {names[0]}", f"towards {names[1]}")
            marks = {"epoch 0": (0.0, 0.0), names[0]: (1.0, 0.0), names[1]: (0.0, 1.0)}
        losses = np.array(about["losses"])
        figure = landscape_figure.surface(values, losses, labels, marks, log)
    figure_files.save_all({f"landscape_{kind}": figure}, folder)
    place = received.place(folder)
    atomic_file.write(place / "landscape.json", to_json(about))
    print(place / f"landscape_{kind}.png", flush=True)


if __name__ == "__main__":
    command_line.run(main, required=("of", "workdir"))
