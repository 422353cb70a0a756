"""Ranks that would train different things, raise or hang: every rank ends, soon, with a reason."""

from __future__ import annotations

import re
import time

import pytest

DISAGREE = """
import time

def refused(message, train):
    began = time.monotonic()
    try:
        train()
    except ValueError as error:
        assert message in str(error), str(error)
        comm.gather_objects(None, "all were told")
        assert time.monotonic() - began < 20
        return
    raise AssertionError(f"nobody said: {message}")

sgd = lambda: K.optimizers.SGD(0.1)
refused("weight 0", lambda: large(sgd(), network(units=8 + rank)))
layers = [K.Input([5]), K.layers.Dense(8), K.layers.Dense(2), K.layers.Dense(2)]
refused("weight 4", lambda: large(sgd(), K.Sequential(layers[: 3 + rank])))
refused("disagree about batch_size: 16 on rank 0, 32 on rank 1", lambda: large(sgd(), batch_size=16 * (1 + rank)))
refused("disagree about sub_batch_size", lambda: large(sgd(), sub_batch_size=2 * (1 + rank)))
refused("disagree about epochs", lambda: large(sgd(), epochs=2 + rank))
refused("disagree about seed", lambda: large(sgd(), seed=rank))
refused("disagree about the optimizer", lambda: large([sgd(), K.optimizers.Adam()][rank]))
half = slice(0, 15) if rank == 0 else slice(15, 30)
refused("give every rank the whole arrays", lambda: large(sgd(), data=(x[half], y[half])))
refused("disagree about the number of samples in x", lambda: large(sgd(), data=(x[: 30 - rank], y[: 30 - rank])))
dataset = tf.data.Dataset.from_tensor_slices((x[: 30 - 8 * rank], y[: 30 - 8 * rank])).batch(2)
refused("disagree about the number of sub-batches in x", lambda: large(sgd(), data=(dataset,)))
refused("disagree about steps_per_epoch", lambda: large(sgd(), data=(dataset.repeat(),), steps_per_epoch=4 + rank))
refused("disagree about the number of validation sub-batches", lambda: large(sgd(), validation_data=dataset))
refused("batch_size=15 is not a multiple of 2 ranks", lambda: large(sgd(), batch_size=15))
print(f"all refused {rank}\\n", end="", flush=True)
large(sgd(), network(units=8 + rank))
"""


@pytest.mark.ranks(2)
def test_ranks_that_disagree_are_told(on_ranks):
    done = on_ranks(DISAGREE, check=False)
    assert done.returncode != 0
    for rank in (0, 1):
        assert f"all refused {rank}" in done.stdout, done.stdout[-4000:]
    assert "ValueError: The ranks hold different models: weight 0" in done.stdout


# What rank 1 does while rank 0 trains, how long the job may take, and what it must say.
FATES = {
    "stuck in a callback": (
        "large('sgd', callbacks=K.callbacks.LambdaCallback(on_train_batch_end=lambda b, l: rank and time.sleep(99)))",
        "made no progress for 5 s after .* TFLBT_STALL_LIMIT=SECONDS",
    ),
    "stuck before fit": (
        "rank and time.sleep(99); large('sgd')",
        "made no progress for 5 s after the start",
    ),
    "raises": (
        "large('sgd', callbacks=K.callbacks.LambdaCallback(on_epoch_begin=lambda e, l: 1 // (1 - rank)))",
        "ZeroDivisionError",
    ),
}


@pytest.mark.ranks(2)
@pytest.mark.parametrize("fate", FATES)
def test_a_lost_rank_ends_the_job(fate, on_ranks, tmp_path):
    code, message = FATES[fate]
    script = f"import time, pathlib\npathlib.Path('began').touch()\n{code}"
    done = on_ranks(script, check=False, env={"TFLBT_STALL_LIMIT": "5"}, timeout=60)
    seconds = time.time() - (tmp_path / "began").stat().st_mtime
    assert done.returncode != 0
    assert re.search(message, done.stdout), done.stdout[-4000:]
    assert seconds < 25, seconds
