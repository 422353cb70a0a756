"""What the documents promise of two ranks: train.py as it stands, and a Horovod script with only its class swapped."""

from __future__ import annotations

import runpy

import pytest

from tests import documents
from tflbt.distributed import comm


def test_train_py_runs_and_only_the_chief_prints(rank, shared_folder, tmp_path, capfd):
    documents.run(documents.train_py(), tmp_path)
    output = capfd.readouterr().out
    if rank == 0:
        assert documents.accuracy(output) > 0.9
    else:
        assert "accuracy" not in output


def test_a_horovod_script_runs_with_its_class_swapped(shared_folder):
    """Wrapped optimizer and Horovod's callbacks stay; the ranks agree, and the chief alone writes."""
    result = runpy.run_path(str(documents.HOROVOD_SCRIPT))["main"]()
    assert all(other == result for other in comm.gather_objects(result, "tests.results"))
    assert result["updates"] == 4 * 30
    assert result["rate"] == pytest.approx(0.005 * 2)  # the warm-up has ended at the scaled rate
    assert result["held_out"] > 0.9
    assert sorted(path.name for path in shared_folder.glob("*.h5")) == [
        f"checkpoint-{epoch}.h5" for epoch in range(1, 5)
    ]
