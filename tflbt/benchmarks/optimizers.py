"""One optimizer step on ResNet-50's 161 variables (25.6 million): ours against Keras's and TensorFlow Addons'.

python -m tflbt.benchmarks optimizers [--rounds N] [--variables N]

Addons' LAMB takes part where they are installed: the second lane has none.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tflbt.benchmarks.side_by_side import Target, hold_against, medians, parser_of
from tflbt.models import resnet50
from tflbt.optimizers import (
    LAMB,
    LARS,
    CurvatureRadius,
    LayerWise,
    MedianCurvature,
    PercentDelta,
    addons,
)

# Whole-variable reads and writes of a step.
PASSES = {
    # The norms read w and g; folding the decay into the buffer reads w and m and writes m; the fused kernel reads
    # g, m and w and writes m and w.
    "LARS": 10,
    "LARS, no weight decay": 7,
    # b w is read and written; Adam's kernel reads g, m, v and u and writes m, v and u; two norms; w - r u.
    "LAMB": 14,
    # A zero is written; the momentum kernel reads g, m and u and writes m and u; two norms; w + r u.
    "LayerWise(SGD, momentum)": 11,
    # As LAMB, with a zero in the place of b w.
    "LayerWise(Adam)": 13,
}
ADDING = "adding the gradients in place (3 passes)"


@functools.cache
def resnet50_shapes(count: int | None = None) -> list[tf.TensorShape]:
    """Shapes of ResNet-50's trainable variables, or of the first ones."""
    return [variable.shape for variable in resnet50().trainable_variables][:count]


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
    parser = parser_of("optimizers", __doc__)
    parser.add_argument("--rounds", type=int, default=30, help="counted rounds (default 30)")
    add_variables(parser)
    arguments = parser.parse_args(argv)
    rounds = arguments.rounds
    tf.get_logger().setLevel(
        "ERROR"
    )  # each optimizer's step is traced once, which TensorFlow takes for retracing
    shapes = resnet50_shapes(arguments.variables)
    gradients = [tf.random.stateless_normal(shape, [i, 1]) * 1e-3 for i, shape in enumerate(shapes)]
    candidates = makers()
    steps = {name: step_function(make(), shapes, gradients) for name, make in candidates.items()}
    steps[ADDING] = add_function(gradients)
    seconds = medians(steps, rounds, warm_up=3)
    count = sum(shape.num_elements() for shape in shapes)
    print(
        f"{len(shapes)} variables, {count / 1e6:.1f} million weights, medians of {rounds} interleaved rounds"
    )
    one_pass = seconds[ADDING] / 3
    print(f"memory bandwidth when adding in place: {4 * count / one_pass / 1e9:.1f} GB/s")
    sgd = seconds["Keras SGD, momentum"]
    for name, taken in seconds.items():
        line = f"{name:<40} {taken * 1e3:8.2f} ms {taken / sgd:6.2f} x Keras SGD"
        if name in PASSES:
            limit = PASSES[name] * one_pass
            line += f"   {PASSES[name]:2} passes: {limit * 1e3:.1f} ms at that bandwidth, {taken / limit:.1f} x"
        print(line)
    return hold_against(*targets(seconds))


def add_variables(parser: argparse.ArgumentParser) -> None:
    """Adds the option for fewer variables: a try that takes seconds."""
    parser.add_argument(
        "--variables", type=int, help="take the first N variables only (default all 161)"
    )


def makers() -> dict[str, Callable[[], Any]]:
    """Makers of the optimizers by name, of TensorFlow Addons' only where they are installed."""
    keras = tf.keras.optimizers
    try:
        lamb = addons.get("tfa.LAMB")
        theirs = {"TensorFlow Addons LAMB": lambda: lamb(0.001, weight_decay=0.01)}
    except ValueError:
        theirs = {}
    return {
        "Keras SGD, momentum": lambda: keras.SGD(0.1, momentum=0.9),
        "Keras legacy SGD, momentum (fused)": lambda: keras.legacy.SGD(0.1, momentum=0.9),
        "Keras Adam": lambda: keras.Adam(),
        **theirs,
        "LARS": lambda: LARS(0.1, weight_decay=1e-4),
        "LARS, no weight decay": lambda: LARS(0.1),
        "LARS, Nesterov": lambda: LARS(0.1, nesterov=True, weight_decay=1e-4),
        "LARS, lr_outside": lambda: LARS(0.1, momentum_style="lr_outside", weight_decay=1e-4),
        "LAMB": lambda: LAMB(weight_decay=0.01),
        "LayerWise(SGD, momentum)": lambda: LayerWise(keras.SGD(0.1, momentum=0.9)),
        "LayerWise(Adam)": lambda: LayerWise(keras.Adam()),
        "LayerWise(RMSprop)": lambda: LayerWise(keras.RMSprop()),
        "LayerWise(Adagrad)": lambda: LayerWise(keras.Adagrad()),
        "MedianCurvature": lambda: MedianCurvature(weight_decay=1e-4),
        "PercentDelta": lambda: PercentDelta(weight_decay=1e-4),
        "CurvatureRadius": lambda: CurvatureRadius(weight_decay=1e-4),
    }


def targets(seconds: dict[str, float]) -> list[Target]:
    """The figures to keep, as ratios of two of these."""
    return [
        Target(f"{name} / {other}", seconds[name] / seconds[other], bound)
        for name, other, bound in (
            ("LARS", "Keras SGD, momentum", 1.0),
            ("LayerWise(SGD, momentum)", "Keras SGD, momentum", 1.3),
            ("LAMB", "Keras Adam", 1.1),
            ("LAMB", "TensorFlow Addons LAMB", 0.6),
            ("LayerWise(Adam)", "Keras Adam", 1.4),
            ("MedianCurvature", "LARS", 4.0),
        )
        if other in seconds
    ]


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
    sys.exit(main(sys.argv[1:]))
