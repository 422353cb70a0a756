"""One job whose ranks come, die, leave and are lost: its training is that of one rank that was left alone."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import rank_environment
from tests.elastic import growing
from tests.ranks.runs import rows
from tflbt import elastic, recipes
from tflbt.distributed import comm, elastic_worker
from tflbt.train import train

PROGRAM = Path(growing.__file__)


def test_ranks_come_die_leave_and_are_lost(tmp_path):
    """In turn: growth, a chief that is stopped, growth, a host that leaves, a joiner's death while it joins."""
    hosts, log = tmp_path / "hosts", tmp_path / "log"
    hosts.write_text(growing.TWO_SEATS)
    launcher = [sys.executable, "-m", "tflbt.elastic.launcher", "--max-ranks", "2", "--standby"]
    words = [
        *launcher,
        "0",
        "--hosts",
        hosts,
        "--log",
        log,
        "--",
        sys.executable,
        PROGRAM,
        tmp_path,
    ]
    environment = {**rank_environment(), "HOROVOD_GLOO_TIMEOUT_SECONDS": "10"}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr + log.read_text()
    assert ended.stderr.count("all ranks are lost after 7 epochs") == 1, ended.stderr

    assert "rank 0 on " in ended.stderr and "it is stopped, so the others go on" in ended.stderr

    begun = [line.split() for line in (tmp_path / "epochs").read_text().splitlines()]
    ranks = {epoch: [] for epoch in range(growing.EPOCHS)}
    for epoch, _, size, _ in begun:
        ranks[int(epoch)].append(int(size))
    assert ranks[2] == [1] and ranks[3] == [2, 2] and ranks[4] == [2, 2, 1]
    assert ranks[5] == [2, 2] and ranks[6] == [1] and ranks[7] == [1]
    chiefs = {int(epoch): pid for epoch, rank, _, pid in begun if rank == "0"}
    # The dead, the survivor, the process that was started again.
    assert len({chiefs[3], chiefs[5], chiefs[7]}) == 3

    model, used = growing.compiled(), growing.callbacks(tmp_path / "alone")
    wanted = model.fit(growing.X, growing.Y, callbacks=used, **growing.FIT)
    weights = np.concatenate([w.ravel() for w in model.get_weights()])
    np.testing.assert_allclose(np.load(tmp_path / "weights.npy"), weights, atol=2e-6)
    history, wait, best = json.loads((tmp_path / "history.json").read_text())
    assert wait == used[1].wait and best == pytest.approx(used[1].best, rel=1e-5)
    assert sum(history.pop("seconds_joining")) == 0
    for name, values in history.items():  # since the job was started again
        np.testing.assert_allclose(values, wanted.history[name][7:], rtol=1e-5, err_msg=name)
    ours, theirs = rows(tmp_path / "run"), rows(tmp_path / "alone" / "run")
    assert [row["epoch"] for row in ours] == [str(n + 1) for n in range(growing.EPOCHS)]
    assert [row.pop("ranks") for row in ours] == ["1", "1", "1", "2", "1", "2", "1", "1", "1"]
    for row, other in zip(ours, theirs):
        other.pop("ranks")
        assert row.keys() == other.keys()
        np.testing.assert_allclose(
            [float(value) for value in row.values()],
            [float(value) for value in other.values()],
            rtol=1e-5,
        )


def test_a_process_that_waits_leaves_the_run_directory_to_rank_0(tmp_path, monkeypatch):
    """It may be there first; rank 0 would refuse a directory in which there is something."""
    config = recipes.default_config()
    with config.unlocked():
        config.model = {"name": "logistic_regression"}
    config.update({"batch_size": 500, "sub_batch_size": 500})
    monkeypatch.setenv("TFLBT_ELASTIC", "1")
    monkeypatch.setenv(elastic_worker.STANDBY_VARIABLE, "1")
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # its launcher ends
    with pytest.raises(SystemExit):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_arguments_that_cannot_be_are_refused_by_name():
    model = growing.compiled()
    with pytest.raises(ValueError, match="elastic.fit needs sub_batch_size"):
        elastic.fit(model, growing.X, growing.Y, batch_size=16)
    with pytest.raises(ValueError, match="samples_per_rank=0"):
        elastic.fit(model, growing.X, growing.Y, samples_per_rank=0, sub_batch_size=8)
    data = tf.data.Dataset.from_tensor_slices((growing.X, growing.Y)).batch(8)
    with pytest.raises(ValueError, match="cannot share x=.*shard=True"):
        elastic.fit(model, data, sub_batch_size=8)
    with pytest.raises(TypeError, match="LargeBatchModel"):
        elastic.fit(tf.keras.Sequential(), growing.X, growing.Y, sub_batch_size=8)
    history = elastic.fit(model, growing.X, growing.Y, **{**growing.FIT, "epochs": 1})
    assert history.epoch == [0] and comm.size() == 1  # no launcher: the model's own fit
