"""How a recipe's batch is split over ranks and sub-batches, also where the ranks come and go with it."""

from __future__ import annotations

import ml_collections

from tflbt.control.batch_plan import BatchPlan
from tflbt.control.ranks import ranks_for
from tflbt.distributed import comm


def first_plan(config: ml_collections.ConfigDict) -> BatchPlan:
    """The split of the batch with which a run begins, whose sub-batch size it keeps.

    With elastic ranks it is that over as many ranks as this batch wants, whatever there are now.

    Raises:
        ValueError: If the batch does not divide.
    """
    return BatchPlan(config.batch_size, config.sub_batch_size, _first_ranks(config))


def _first_ranks(config: ml_collections.ConfigDict) -> int:
    elastic, size = config.elastic, config.sub_batch_size or 1
    if elastic.max_ranks == 1:
        return comm.size()
    options = {key: elastic[key] for key in ("samples_per_rank", "min_ranks", "max_ranks")}
    return ranks_for(config.batch_size, **options, step=lambda r: r * size) or elastic.min_ranks
