"""ElasticRanks asks for ranks where the next epoch's batch wants them; a launcher's part is in tests/launch."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tflbt import LargeBatchModel
from tflbt.callbacks import Checkpoint, ElasticRanks, GrowBatchSize
from tflbt.distributed.restart import LIMIT_VARIABLE, RestartNeeded


def test_the_job_ends_before_the_epoch_whose_batch_wants_more(
    tmp_path, data, make_model, monkeypatch
):
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    model = make_model(cls=LargeBatchModel)

    def fit(elastic, epochs=3, begin=0, batch_size=8):
        checkpoint = Checkpoint(tmp_path / "checkpoints", every=5)
        first = checkpoint.resume(model)
        assert first == begin
        model.fit(
            *data, batch_size=checkpoint.batch_size or batch_size, sub_batch_size=8, epochs=epochs,
            verbose=0, initial_epoch=first,
            callbacks=[GrowBatchSize([2], 2.0, max_batch_size=16), elastic, checkpoint],
        )  # fmt: skip
        return checkpoint

    with pytest.raises(RestartNeeded, match="after epoch 2, to go on with 2 ranks"):
        fit(ElasticRanks(4, samples_per_rank=8))
    folder = tmp_path / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["epoch_00002", "next_ranks"]
    assert (folder / "next_ranks").read_text() == "2 resize\n"
    # Whoever starts it again has no more: it goes on as it is, to the end, with the batch that it wanted ranks for.
    monkeypatch.setenv(LIMIT_VARIABLE, "1")
    checkpoint = fit(ElasticRanks(4, min_ranks=2, samples_per_rank=8), begin=2)
    assert (checkpoint.batch_size, model.batch_size) == (16, 16)
    assert sorted(path.name for path in folder.iterdir()) == ["epoch_00002", "epoch_00003"]


def test_what_it_cannot_do_is_refused_before_training(tmp_path, data, make_model, caplog):
    elastic, checkpoint = ElasticRanks(4, samples_per_rank=8), Checkpoint(tmp_path)
    with pytest.raises(ValueError, match="Functional is not: use tflbt.LargeBatchModel.from_model"):
        make_model().fit(*data, verbose=0, callbacks=[elastic, checkpoint])
    model = make_model(cls=LargeBatchModel)
    for callbacks in ([elastic], [checkpoint, elastic]):
        with pytest.raises(ValueError, match="needs a tflbt.callbacks.Checkpoint behind"):
            model.fit(*data, batch_size=8, verbose=0, callbacks=callbacks)
    with pytest.raises(ValueError, match="^max_ranks=0 must be"):
        ElasticRanks(0)
    only = ElasticRanks(4, min_ranks=3, samples_per_rank=8)
    model.fit(*data, batch_size=8, verbose=0, epochs=2, callbacks=[only, checkpoint])
    assert "batch_size=8 divides over no number of ranks from 3 to 4" in caplog.text
    assert isinstance(model.optimizer, tf.keras.optimizers.Optimizer)
