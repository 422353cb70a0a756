"""How long nothing was trained, by epoch; what the callbacks do in a job is in `test_session.py`."""

from __future__ import annotations

import time
from types import SimpleNamespace

from tflbt.elastic.epoch_ends import Resizing


def test_the_pause_ends_where_an_epoch_begins():
    session = SimpleNamespace(paused_at=time.perf_counter() - 7)
    resizing, logs = Resizing(session), {}
    resizing.on_epoch_begin(3)
    resizing.on_epoch_end(3, logs)
    assert logs["seconds_joining"] >= 7 and session.paused_at is None
    resizing.on_epoch_begin(4)
    resizing.on_epoch_end(4, logs)
    assert logs["seconds_joining"] == 0
