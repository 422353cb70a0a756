"""Fig. 1 of the two-phase paper in small: margin beside training loss at a small and a large batch, past the plateau.

python hparams/figures/margins.py DATA_DIR FOLDER

ResNet-8 on the first 5,000 images of CIFAR-10, 250 epochs at one rate, in two runs in turn. Writes margins.png beside
this file. What is there already is not trained again.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from tflbt import data, recipes
from tflbt.recipes import build, run
from tflbt.report.measures import margin_figure
from tflbt.report.several import groups

HERE = Path(__file__).resolve().parent
IMAGES, EPOCHS = 5000, 250
BATCHES = {"small_batch": 128, "large_batch": 2048}


def train(variant: str, data_dir: str, folder: Path) -> None:
    """Trains a row of Table 2 at its first rate, and measures margins."""
    config = recipes.load(f"{HERE.parent / 'cifar10_resnet14.py'}:{variant}")
    config.epochs, config.batch_size, config.model.depth = EPOCHS, BATCHES[variant], 8
    config.schedule.name = "constant"
    config.margin.samples = 1000
    config.checkpoint.update({"initial": False, "keep_epochs": ()})
    build.prepare_process(config)
    images = data.load("cifar10", data_dir)
    images = dataclasses.replace(
        images,
        x_train=images.x_train[:IMAGES],
        y_train=images.y_train[:IMAGES],
        x_test=images.x_test[:1000],
        y_test=images.y_test[:1000],
    )
    resume = folder.exists()
    build.build(config, images=images).fit([], run.claim(folder, config, resume), resume=resume)


def main(data_dir: str, folder: Path) -> None:
    """Trains what is not there yet, and draws it."""
    for variant in BATCHES:
        train(variant, data_dir, folder / variant)
    figure = margin_figure.compare(groups.by_seed(folder / variant for variant in BATCHES))
    figure.savefig(HERE / "margins.png", dpi=90)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
