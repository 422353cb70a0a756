"""A program that imports schedules only: prints the next learning rate of the saved model that its argument names."""

from __future__ import annotations

import sys

import tensorflow as tf

import tflbt.schedules  # noqa: F401 - what a saved schedule needs in order to load

if __name__ == "__main__":
    model = tf.keras.models.load_model(sys.argv[1])
    print(float(model.optimizer._learning_rate(model.optimizer.iterations)))
