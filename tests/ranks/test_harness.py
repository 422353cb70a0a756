"""The session itself: ranks are in step, and a failure of one is every rank's."""

from __future__ import annotations

from tflbt.distributed import comm


def test_both_ranks_run_this_test(rank, shared_folder):
    assert comm.gather_objects(rank, "ranks") == [0, 1]
    (shared_folder / f"{rank}").write_text("here")
    comm.gather_objects(None, "written")
    assert sorted(path.name for path in shared_folder.iterdir()) == ["0", "1"]
