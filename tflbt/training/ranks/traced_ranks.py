"""Refuses a compiled function of other ranks: where these do not come and go, their number is a constant in it."""

from __future__ import annotations

from tflbt.distributed import membership
from tflbt.training.update_state import TrainingModel


def require_same(model: TrainingModel, what: str) -> None:
    """Raises ValueError if a function was traced for other ranks than there are; notes for which if it is new."""
    if membership.elastic() or model.run_eagerly:
        return
    now = model.reduction.rank, model.reduction.size
    before = model.update_state.traced_for.setdefault(what, now)
    if before != now:
        raise ValueError(
            f"this model's {what} were compiled on rank {before[0]} of {before[1]}, and this is now rank {now[0]} of "
            f"{now[1]}: the ranks would train apart. Ranks that come and go need tflbt.elastic.fit under "
            "launch/elastic.sh (Horovod's own elastic launcher will not do); otherwise compile the model again."
        )
