"""Runs mushroom_logistic.py and draws Fig. 5 of the adaptive batch size paper: training loss by update.

python hparams/figures/mushroom.py DATA_DIR

Prints a line a run, with the updates it took to some losses, and writes mushroom.png beside this file. The loss is the
mean over the whole clean training set after each update; rates are the paper's, of one logit.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tflbt import data, recipes
from tflbt.recipes import build
from tflbt.report import figure_style

HERE = Path(__file__).resolve().parent
LEVELS = (0.1, 0.01, 0.00148, 0.0005)  # the third is where SGD ends
SWEEP = {0.6: "#d6c9dd", 2.4: "#b79bc6", 4.8: "#9b72b0", 9.6: "#7d4a96", 38.4: "#4b1f63"}
# Panel, variant, rate, epochs (None: the recipe's), seeds, how to draw.
RUNS = (
    ("both", "full_gradient", 1.2, 6300, (0,), {"color": "#b5b5b5", "linewidth": 3.5}),
    *(("right", "full_gradient", r, 2000, (0,), {"color": c}) for r, c in SWEEP.items()),
    ("left", "sgd", 1.2, None, (0, 1, 2), {"color": "#0072b2"}),
    *(("none", "sgd", rate, None, (0,), {}) for rate in (4.8, 38.4)),
    ("left", "sgd", 19.2, None, (0,), {"color": "#56b4e9"}),
    ("both", "abs", 1.2, None, (0, 1, 2), {"color": "#d55e00", "linewidth": 1.8}),
    ("both", "absa", 1.2, None, (0, 1, 2), {"color": "#00735c", "linestyle": "--"}),
    ("none", "fb", 1.2, None, (0, 1, 2), {}),
    ("none", "gg", 1.2, None, (0, 1, 2), {}),
)


class Losses(tf.keras.callbacks.Callback):
    """Notes the loss of the whole training set before the first update and after each."""

    def __init__(self, images: data.ImageData) -> None:
        super().__init__()
        self.x = images.x_train.reshape(len(images.x_train), -1).astype("float32") / 255
        self.sign = 2.0 * images.y_train - 1
        self.values: list[float] = []

    def on_train_begin(self, logs=None):
        """Notes it."""
        kernel, bias = (variable.numpy() for variable in self.model.trainable_variables)
        margins = self.sign * (self.x @ (kernel[:, 1] - kernel[:, 0]) + bias[1] - bias[0])
        self.values.append(float(np.logaddexp(0, -margins).mean()))

    def on_train_batch_end(self, batch, logs=None):
        """Notes it."""
        self.on_train_begin()


def losses(images: data.ImageData, variant: str, rate: float, epochs: int | None, seed: int):
    """Trains a variant, prints its line, and returns its losses by update."""
    config = recipes.load(f"{HERE.parent / 'mushroom_logistic.py'}:{variant}")
    config.optimizer.learning_rate *= rate / 1.2
    config.epochs, config.seed = epochs or config.epochs, seed
    tf.keras.backend.clear_session()
    build.prepare_process(config)
    noted = Losses(images)
    dataclasses.replace(build.build(config, images=images), test=None).fit([noted])
    values = np.array(noted.values)
    reached = [int(np.argmax(values <= level)) or "-" for level in LEVELS]
    print(variant, rate, seed, len(values) - 1, *reached, f"{values[-1]:.6f}", flush=True)
    return values


def main(data_dir: str) -> None:
    """Runs everything and draws it."""
    images = data.load("mushroom", data_dir)
    print("variant rate seed updates", *(f"to_{level}" for level in LEVELS), "last_loss")
    with figure_style.settings():
        figure = Figure(figsize=(10.2, 3.6), layout="constrained")
        panels = dict(zip(("left", "right"), figure.subplots(1, 2, sharey=True)))
        for panel, variant, rate, epochs, seeds, look in RUNS:
            label = variant.replace("_", " ") + ("" if rate == 1.2 else f", rate {rate:g}")
            for seed in seeds:
                values = losses(images, variant, rate, epochs, seed)
                for name, axes in panels.items():
                    if panel in (name, "both"):
                        axes.plot(values, label=label, **{"linewidth": 1.1, **look})
                label = None  # a line a seed, one entry
        for axes in panels.values():
            axes.set(xlabel="update", xscale="log", yscale="log", xlim=(1, None), ylim=(1e-5, 10))
            axes.legend(frameon=False, fontsize=8, loc="lower left")
            figure_style.plain(axes)
        panels["left"].set_ylabel("training loss")
        figure.savefig(HERE / "mushroom.png", dpi=90)


if __name__ == "__main__":
    main(sys.argv[1])
