"""What adversarial samples cost an update of ResNet-20: seconds with a share of them over seconds without.

python -m tflbt.benchmarks adversarial [--samples N] [--share S] [--rounds N]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import tensorflow as tf

from tflbt import models
from tflbt.benchmarks.side_by_side import Target, hold_against, medians
from tflbt.training import FGSM, LargeBatchModel

SUB_BATCH = 128


def fits(samples: int, share: float) -> dict[str, object]:
    """One model, and an epoch of it with and without adversarial samples."""
    generator = np.random.default_rng(0)
    x = generator.uniform(size=(samples, 32, 32, 3)).astype("float32")
    y = generator.integers(0, 10, samples)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def made(fgsm: FGSM | None) -> object:
        model = LargeBatchModel.from_model(models.build("cifar_resnet", depth=20))
        model.compile(tf.keras.optimizers.SGD(0.01, momentum=0.9), loss)
        return lambda: model.fit(
            x, y, batch_size=samples, sub_batch_size=SUB_BATCH, verbose=0, adversarial=fgsm
        )

    return {"plain": made(None), "share 0": made(FGSM(0.0)), "adversarial": made(FGSM(share))}


def main(argv: list[str]) -> int:
    """Prints the seconds and the ratios against their targets."""
    parser = argparse.ArgumentParser(
        prog="python -m tflbt.benchmarks adversarial", description=__doc__
    )
    parser.add_argument("--samples", type=int, default=512, help="of an update (default 512)")
    parser.add_argument("--share", type=float, default=0.2, help="adversarial (default 0.2)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds (default 9)")
    options = parser.parse_args(argv)
    seconds = medians(fits(options.samples, options.share), options.rounds)  # type: ignore[arg-type]
    print(f"An update of {options.samples} samples of ResNet-20 in sub-batches of {SUB_BATCH}")
    for name, taken in seconds.items():
        print(f"{name:<14} {taken:8.3f} s")
    # A gradient is about three forward passes; by the inputs alone it is two, of the share.
    limit = 1 + options.share * 2 / 3
    print(f"arithmetic alone: {limit:.3f}")
    return hold_against(
        Target(
            f"with {options.share:.0%} adversarial / plain",
            seconds["adversarial"] / seconds["plain"],
            limit + options.share / 3,
        ),
        Target("with a share of 0 / plain", seconds["share 0"] / seconds["plain"], 1.03),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
