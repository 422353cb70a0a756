"""One optimizer step on ResNet-50's 161 variables (25.6 million): LARS against Keras's own optimizers.

python -m tflbt.benchmarks optimizers [--rounds N]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tflbt.benchmarks.side_by_side import Target, hold_against, medians
from tflbt.optimizers import LARS

# Whole-variable reads and writes of a step: the norms read w and g; folding the decay into the buffer reads w and
# m and writes m; the fused kernel reads g, m and w and writes m and w.
LARS_PASSES, LARS_PASSES_WITHOUT_DECAY = 10, 7
ADDING = "adding the gradients in place (3 passes)"


def resnet50_shapes() -> list[tf.TensorShape]:
    """Shapes of ResNet-50's trainable variables, without the convolution biases that Keras's version adds."""
    model = tf.keras.applications.ResNet50(weights=None)
    return [v.shape for v in model.trainable_variables if not v.name.endswith("_conv/bias:0")]


def step_function(
    optimizer: Any, shapes: list[tf.TensorShape], gradients: list[tf.Tensor]
) -> Callable[[], Any]:
    """A compiled step of the optimizer on weights of its own."""
    weights = [
        tf.Variable(tf.random.stateless_normal(shape, [i, 0]) * 0.05)
        for i, shape in enumerate(shapes)
    ]
    if hasattr(optimizer, "build"):
        optimizer.build(weights)

    @tf.function
    def step() -> tf.Tensor:
        optimizer.apply_gradients(zip(gradients, weights))
        return tf.constant(0)

    return lambda: step().numpy()


def main(argv: list[str]) -> int:
    """Prints medians, ratios to Keras SGD with momentum, and what memory bandwidth would allow."""
    parser = argparse.ArgumentParser(
        prog="python -m tflbt.benchmarks optimizers", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=30, help="counted rounds (default 30)")
    rounds = parser.parse_args(argv).rounds
    tf.get_logger().setLevel(
        "ERROR"
    )  # each optimizer's step is traced once, which TensorFlow takes for retracing
    shapes = resnet50_shapes()
    gradients = [tf.random.stateless_normal(shape, [i, 1]) * 1e-3 for i, shape in enumerate(shapes)]
    keras = tf.keras.optimizers
    optimizers = {
        "Keras SGD, momentum": keras.SGD(0.1, momentum=0.9),
        "Keras legacy SGD, momentum (fused)": keras.legacy.SGD(0.1, momentum=0.9),
        "Keras Adam": keras.Adam(),
        "LARS": LARS(0.1, weight_decay=1e-4),
        "LARS, no weight decay": LARS(0.1),
        "LARS, Nesterov": LARS(0.1, weight_decay=1e-4, nesterov=True),
        "LARS, lr_outside": LARS(0.1, weight_decay=1e-4, momentum_style="lr_outside"),
    }
    steps = {
        name: step_function(optimizer, shapes, gradients) for name, optimizer in optimizers.items()
    }
    steps[ADDING] = add_function(gradients)
    seconds = medians(steps, rounds, warm_up=3)
    count = sum(shape.num_elements() for shape in shapes)
    print(
        f"{len(shapes)} variables, {count / 1e6:.1f} million weights, medians of {rounds} interleaved rounds"
    )
    base = seconds["Keras SGD, momentum"]
    for name, taken in seconds.items():
        print(f"{name:<46} {taken * 1e3:8.2f} ms   {taken / base:6.2f} x Keras SGD")
    one_pass = seconds[ADDING] / 3
    print(f"memory bandwidth when adding in place: {4 * count / one_pass / 1e9:.1f} GB/s")
    for name, passes in (
        ("LARS", LARS_PASSES),
        ("LARS, no weight decay", LARS_PASSES_WITHOUT_DECAY),
    ):
        print(
            f"{name}: {passes} passes, which that bandwidth allows in {passes * one_pass * 1e3:.1f} ms"
        )
    return hold_against(Target("LARS step / Keras SGD with momentum", seconds["LARS"] / base, 1.2))


def add_function(gradients: list[tf.Tensor]) -> Callable[[], Any]:
    """Adds every gradient to a buffer in place: reads two tensors and writes one, and computes next to nothing."""
    buffers = [tf.Variable(gradient) for gradient in gradients]

    @tf.function(reduce_retracing=True)
    def add() -> tf.Tensor:
        for buffer, gradient in zip(buffers, gradients):
            buffer.assign_add(gradient)
        return tf.constant(0)

    return lambda: add().numpy()


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
