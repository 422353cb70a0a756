"""What one optimizer step on ResNet-50's 161 variables holds beyond weights, gradients and slots, at its peak.

python -m tflbt.benchmarks optimizer_memory [--variables N]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tflbt.benchmarks.optimizers import add_variables, makers, resnet50_shapes, step_function
from tflbt.benchmarks.side_by_side import Target, hold_against, parser_of

# Scalars are temporaries too.
MOST = 1.01


def peak(make: Callable[[], Any], shapes: list[tf.TensorShape], device: str) -> int:
    """Bytes that a step allocates at its peak beyond what was there before it; the largest of three steps."""
    gradients = [tf.random.stateless_normal(shape, [i, 1]) * 1e-3 for i, shape in enumerate(shapes)]
    step = step_function(make(), shapes, gradients)
    step()
    found = []
    for _ in range(3):
        tf.config.experimental.reset_memory_stats(device)
        before = tf.config.experimental.get_memory_info(device)["current"]
        step()
        found.append(tf.config.experimental.get_memory_info(device)["peak"] - before)
    return max(found)


def main(argv: list[str]) -> int:
    """Prints each optimizer's peak, in MiB and in units of the largest variable."""
    parser = parser_of("optimizer_memory", __doc__)
    add_variables(parser)
    arguments = parser.parse_args(argv)
    # The allocator that counts, where there is no GPU; TensorFlow reads this when it first uses the processor.
    os.environ["TF_CPU_ALLOCATOR_USE_BFC"] = "true"
    device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"
    shapes = resnet50_shapes(arguments.variables)
    largest = 4 * max(shape.num_elements() for shape in shapes)
    print(f"{device}: {len(shapes)} variables, the largest {largest / 2**20:.1f} MiB")
    peaks = {name: peak(make, shapes, device) / largest for name, make in makers().items()}
    for name, share in peaks.items():
        print(
            f"{name:<46} {share * largest / 2**20:8.1f} MiB   {share:6.2f} x the largest variable"
        )
    return hold_against(
        *(
            Target(f"{name} step's temporaries / largest variable", peaks[name], MOST)
            for name in ("LARS", "LAMB", "LayerWise(SGD, momentum)", "LayerWise(Adam)")
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
