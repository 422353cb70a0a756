"""What adversarial samples cost an update of a CIFAR ResNet, beside the input gradients that they need at the least.

python -m tflbt.benchmarks adversarial [--samples N] [--share S] [--rounds N] [--depth N]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tflbt.benchmarks.side_by_side import Target, hold_against, medians, parser_of
from tflbt.benchmarks.sub_batches import add_depth, resnet
from tflbt.training import FGSM, LargeBatchModel

SUB_BATCH = 128


def candidates(samples: int, share: float, depth: int) -> dict[str, Callable[[], object]]:
    """An update without and with adversarial samples, and the bare input gradients of their share."""
    generator = np.random.default_rng(0)
    x = generator.uniform(size=(samples, 32, 32, 3)).astype("float32")
    y = generator.integers(0, 10, samples)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network = resnet(depth)

    def update(fgsm: FGSM | None) -> Callable[[], object]:
        model = LargeBatchModel.from_model(resnet(depth))
        model.compile(tf.keras.optimizers.SGD(0.01, momentum=0.9), loss)
        size = min(SUB_BATCH, samples)
        return lambda: model.fit(
            x, y, batch_size=samples, sub_batch_size=size, verbose=0, adversarial=fgsm
        )

    @tf.function
    def input_gradient(some: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(some)
            value = loss(labels, network(some, training=False))
        return tape.gradient(value, some)

    def bare() -> None:
        few = max(1, int(min(SUB_BATCH, samples) * share))
        for first in range(0, samples, SUB_BATCH):
            part = slice(first, first + few)
            input_gradient(tf.constant(x[part]), tf.constant(y[part])).numpy()

    return {"plain": update(None), "adversarial": update(FGSM(share)), "input gradients": bare}


def main(argv: list[str]) -> int:
    """Prints the seconds and the ratios against their targets."""
    parser = parser_of("adversarial", __doc__)
    parser.add_argument("--samples", type=int, default=512, help="of an update (default 512)")
    parser.add_argument("--share", type=float, default=0.2, help="adversarial (default 0.2)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds (default 15)")
    add_depth(parser)
    options = parser.parse_args(argv)
    seconds = medians(candidates(options.samples, options.share, options.depth), options.rounds)
    print(
        f"An update of {options.samples} samples of ResNet-{options.depth} in sub-batches of {SUB_BATCH}"
    )
    for name, taken in seconds.items():
        print(f"{name:<16} {taken:8.3f} s")
    plain, adversarial, bare = seconds.values()
    print(f"the least it can be: {1 + bare / plain:.3f} of plain")
    return hold_against(
        Target(f"with {options.share:.0%} adversarial / plain", adversarial / plain, 1.3),
        Target("with them / (plain + input gradients)", adversarial / (plain + bare), 1.1),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
