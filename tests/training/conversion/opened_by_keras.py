"""A program without tflbt: opens every model in a folder with plain Keras, and writes what they predict and learn."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf


def main(folder: Path) -> None:
    """Writes NAME.npz beside every model: its class, its outputs, loss and weights after another epoch."""
    with np.load(folder / "samples.npz") as samples:
        x, y = samples["x"], samples["y"]
    for path in sorted(folder.iterdir()):
        if path.suffix == ".npz":
            continue
        compiled = "lars" not in path.name
        model = tf.keras.models.load_model(path, compile=compiled)
        found = {"class": str(type(model)), "outputs": model.predict(x, verbose=0)}
        if compiled and path.suffix:
            targets = [y] * len(model.outputs) if len(model.outputs) > 1 else y
            found["loss"] = model.evaluate(x, targets, batch_size=len(x), verbose=0)
            model.fit(x, targets, batch_size=len(x), shuffle=False, verbose=0)
            found.update({f"weight{i}": w for i, w in enumerate(model.get_weights())})
        np.savez(f"{path}.npz", **found)


if __name__ == "__main__":
    sys.modules["tflbt"] = None  # as if it were not installed
    main(Path(sys.argv[1]))
