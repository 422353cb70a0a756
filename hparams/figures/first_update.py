"""Figs 3 and 9 of the curvature-radius paper: the mean gradient of the first update, by batch and by what is discarded.

python hparams/figures/first_update.py DATA_DIR

Trains cifar10_alexnet.py for one update, with narrower layers and on the first samples of a shuffled training set, and
prints the mean size of the gradient: of the first dense layer against the batch size, with the slope on logarithmic
axes (the paper: -1/2); of the second against the share of small losses that is discarded from a batch of 8,192. Writes
first_update.png beside this file.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tflbt import data, recipes
from tflbt.analysis.power_law import fit_power_law
from tflbt.recipes import build
from tflbt.report import figure_style
from tflbt.training import Strides

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parent / "cifar10_alexnet.py"
SEEDS, OF_SMALL = (0, 1), (0, 1, 2, 3)  # of batches below 8,192 more, which cost little
SIZES = (32, 128, 512, 2048, 8192, 50_000)
SHARES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)


def load(data_dir: str) -> tuple[data.ImageData, build.Recipe]:
    """A few images, from which recipes are built quickly, and one of all, which standardises by all."""
    images = data.load("cifar10", data_dir)
    whole = build.build(recipes.load(f"{RECIPE}:batch_8192"), images=images)
    few = {name: getattr(images, name)[:10] for name in ("x_train", "y_train", "x_test", "y_test")}
    return dataclasses.replace(images, **few), whole


def mean_gradient(samples: tuple, size: int, share: float, layer: str, seed: int) -> float:
    """Takes one update of `size` samples; returns the mean of |gradient| over a layer's kernel."""
    few, whole = samples
    config = recipes.load(f"{RECIPE}:discard_8000")
    config.model.update({"filters": (32, 96, 96, 64, 64), "units": (256, 256)})
    config.update({"epochs": 1, "batch_size": size, "seed": seed})
    config.sub_batch_size = next(s for s in (512, 500, size) if size % s == 0)
    config.small_loss.share = share
    config.strides.update({"measure": True, "layer": layer})
    x, y = whole.train
    chosen = np.random.default_rng(seed).permutation(len(x))[:size]
    tf.keras.backend.clear_session()
    build.prepare_process(config)
    recipe = build.build(config, images=few)
    data_of_all = {"train": (x[chosen], y[chosen]), "test": None, "transform": whole.transform}
    dataclasses.replace(recipe, **data_of_all).fit()
    strides = next(rule for rule in recipe.rules if isinstance(rule, Strides))
    return strides.columns(epoch=0)["gradient_stride_first"]


def line(name: str, settings: tuple, values: dict[float, list[float]]) -> None:
    """Prints means and deviations over the seeds."""
    print(f"\n{name}: mean |gradient| by seed, mean ± deviation")
    for x in settings:
        spread = f"{statistics.mean(values[x]):.3e} ± {statistics.stdev(values[x]):.1e}"
        print(f"{x:g}:", *(f"{value:.3e}" for value in values[x]), "|", spread, flush=True)


def main(data_dir: str) -> None:
    """Measures, prints and draws."""
    samples = load(data_dir)
    with figure_style.settings():
        figure = Figure(figsize=(10.2, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        of_size = {
            n: [
                mean_gradient(samples, n, 0.0, "dense1", s)
                for s in (SEEDS if n >= 8192 else OF_SMALL)
            ]
            for n in SIZES
        }
        line("batch size", SIZES, of_size)
        pairs = [(n, value) for n in SIZES for value in of_size[n]]
        law = fit_power_law(*zip(*(pair for pair in pairs if pair[0] < 8192)))
        print(f"all: {fit_power_law(*zip(*pairs))}; below 8,192: {law}", flush=True)
        means = [statistics.mean(of_size[n]) for n in SIZES]
        left.plot(SIZES, means, "o-", label=f"below 8,192: {law}")
        of_share = {
            p: [mean_gradient(samples, 8192, p, "dense2", s) for s in SEEDS] for p in SHARES
        }
        line("discarded share", SHARES, of_share)
        right.plot(SHARES, [statistics.mean(of_share[p]) for p in SHARES], "o-")
        left.legend(frameon=False)
        left.set(xlabel="batch size", ylabel="mean |gradient|", xscale="log", yscale="log")
        right.set(xlabel="discarded share", ylabel="mean |gradient|")
        for axes in (left, right):
            figure_style.plain(axes)
        figure.savefig(HERE / "first_update.png", dpi=90)


if __name__ == "__main__":
    main(sys.argv[1])
