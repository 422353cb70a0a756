"""From a command to its first update: `python -m tflbt.train` with a small recipe, beside a script of plain Keras.

python -m tflbt.benchmarks start [--rounds N]
"""

from __future__ import annotations

import os
import resource
import runpy
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tflbt.benchmarks.side_by_side import Target, hold_against, lines_of, parser_of

RECIPE = Path(__file__).resolve().parents[2] / "hparams" / "digits_resnet.py"
KERAS, OURS = "plain Keras", "tflbt.train"


def train(workdir: str) -> None:
    """Runs `python -m tflbt.train` in this process, which ends with the first update."""
    import tensorflow as tf

    def end(*_: Any) -> None:
        os._exit(0)

    tf.keras.callbacks.CallbackList.on_train_batch_end = end
    sys.argv = ["tflbt.train", f"--config={RECIPE}:small_batch", f"--workdir={workdir}"]
    runpy.run_module("tflbt.train", run_name="__main__", alter_sys=True)


def seconds(command: list[str]) -> tuple[float, float]:
    """The seconds that a command takes, and those of processors."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    lines_of(command)
    taken, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(argv: list[str]) -> int:
    """Prints the medians and their ratio."""
    parser = parser_of("start", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="starts of each (default 5)")
    parser.add_argument("--program", help="the directory of the run; for this command itself")
    options = parser.parse_args(argv)
    if options.program is not None:
        train(options.program)
    peer = [sys.executable, str(Path(__file__).with_name("bare_keras.py"))]
    mine = [sys.executable, "-m", "tflbt.benchmarks", "start", "--program"]
    times: dict[str, list[tuple[float, float]]] = {KERAS: [], OURS: []}
    for _ in range(options.rounds):
        times[KERAS].append(seconds(peer))
        with tempfile.TemporaryDirectory() as folder:
            times[OURS].append(seconds([*mine, str(Path(folder) / "run")]))
    found = {name: [statistics.median(each) for each in zip(*of)] for name, of in times.items()}
    for name, (wall, processor) in found.items():
        print(f"{name}: first update after {wall:.1f} s, {processor:.1f} s of processors")
    ratio = found[OURS][0] / found[KERAS][0]
    return hold_against(Target("seconds to the first update / plain Keras's", ratio, 1.3))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
