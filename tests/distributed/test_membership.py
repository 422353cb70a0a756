"""Ranks that come and go: what graphs read of them, and a process's seat on its host."""

from __future__ import annotations

import tensorflow as tf

from tflbt.distributed import comm, devices, membership


def test_a_graph_reads_who_is_there_when_it_runs(monkeypatch):
    reduction = comm.Reduction(sum_over_ranks=True)
    assert (reduction.size_in_graph, reduction.rank_in_graph, reduction.factor) == (1, 0, 1)
    assert not reduction.varies
    monkeypatch.setenv(membership.VARIABLE, "1")
    assert reduction.varies

    @tf.function(autograph=False)
    def seen():
        return reduction.rank_in_graph, reduction.size_in_graph, reduction.factor

    try:
        for rank, ranks in ((0, 1), (2, 3)):
            membership.update(rank, ranks)
            assert [float(value) for value in seen()] == [rank, ranks, ranks]
            assert membership.now() == (rank, ranks)
        assert float(comm.EVERYONE.factor) == 1
    finally:
        membership.update(0, 1)


def test_a_seat_takes_its_gpu_and_cores_once(monkeypatch):
    taken = []
    monkeypatch.setattr(devices, "configure", lambda place, places: taken.append((place, places)))
    monkeypatch.setenv(membership.SEAT_VARIABLE, "1/4")
    comm.init()
    assert not taken and comm.local_size() == 1  # the seat counts under the elastic launcher alone
    monkeypatch.setenv(membership.VARIABLE, "1")
    monkeypatch.setattr(membership, "_seated", False)
    comm.init()
    comm.init()
    assert taken == [(1, 4)] and (comm.local_rank(), comm.local_size()) == (1, 4)
