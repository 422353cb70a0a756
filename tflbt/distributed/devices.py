"""What a rank takes of its host: one GPU, and its share of the cores."""

from __future__ import annotations

import os

import tensorflow as tf
from absl import logging


def configure(local_rank: int, local_size: int) -> None:
    """Pins the GPU of this local rank, and limits its threads to its share of the host's cores."""
    try:
        gpus = tf.config.list_physical_devices("GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        if gpus:
            if local_rank >= len(gpus):
                raise ValueError(
                    f"local rank {local_rank} has no GPU: this host has {len(gpus)} and was given {local_size} "
                    f"ranks. Start at most {len(gpus)} ranks a host, or hide the GPUs with CUDA_VISIBLE_DEVICES=''."
                )
            tf.config.set_visible_devices(gpus[local_rank], "GPU")
        if "OMP_NUM_THREADS" not in os.environ and "TF_NUM_INTRAOP_THREADS" not in os.environ:
            threads = share_of_cores(local_size)
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            # With one thread more than its share, a collective can wait while the rank computes.
            tf.config.threading.set_inter_op_parallelism_threads(threads + 1)
    except RuntimeError as error:
        logging.warning(
            "TensorFlow was used before tflbt could pin this rank's GPU and cores (%s); call "
            "tflbt.init() first thing in the program.",
            error,
        )


def share_of_cores(ranks: int) -> int:
    """How many of the cores that this process may use each of a number of ranks takes, at least 1."""
    return max(1, len(os.sched_getaffinity(0)) // ranks)
