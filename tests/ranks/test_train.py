"""`tflbt.train.train` on two ranks: interrupted and resumed equals uninterrupted; what ends it keeps what was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.ranks.runs import assert_same_checkpoints, checkpoints, rows
from tests.ranks.twins import K
from tflbt import recipes
from tflbt.callbacks import NonFiniteLoss
from tflbt.command_line import EXPECTED
from tflbt.distributed import comm
from tflbt.train import train

RECIPE = Path(__file__).resolve().parents[1] / "small_digits.py"
# So large a rate, and so short a patience, that the phase switches and the rate decays within six epochs.
TWO_PHASE = {
    "epochs": 6,
    "sub_batch_size": 64,
    "schedule.patience": 1,
    "schedule.min_delta": 10.0,
    "schedule.extra_fraction": 0.0,
    "warmup.epochs": 1.5,
    "optimizer.learning_rate": 12.0,
}
GROWING = {
    "epochs": 4,
    "batch_size": 64,
    "sub_batch_size": 32,
    "schedule.name": "step",
    "schedule.epochs": (3,),
    "batch_schedule.name": "adaptive",
    "batch_schedule.max_batch_size": 512,
    "batch_schedule.kappa": 1,
    "batch_schedule.tau": 3,
    "batch_schedule.reference": "first_epoch",
    "adversarial.share": 0.25,
}


def start(run, flags, variant, report=True, **options):
    """Trains, by names and seeds of a process that begins; without a report saves the chief's time."""
    K.backend.clear_session()
    config = recipes.load(f"{RECIPE}:{variant}")
    config.update_from_flattened_dict(flags)
    with pytest.MonkeyPatch.context() as patch:
        if not report:
            patch.setattr("tflbt.train._write_report", lambda directory: None)
        try:
            return train(config, run, **options)
        finally:
            comm.gather_objects(None, "test.written")


@pytest.fixture
def at_epoch_begin(monkeypatch):
    """Acts on the model when so many epochs are finished."""
    real = NonFiniteLoss.on_epoch_begin

    def prepare(epoch, act):
        def begin(self, number, logs=None):
            real(self, number, logs)
            if number == epoch:
                act(self.model)

        monkeypatch.setattr(NonFiniteLoss, "on_epoch_begin", begin)

    return prepare


def interrupt(model):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("variant", "flags", "epoch"),
    [  # tests/test_train.py kills the first every time, and asserts what is asserted here
        pytest.param("two_phase_lars", TWO_PHASE, 2, marks=pytest.mark.slow),
        ("large_batch", GROWING, 2),
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    variant, flags, epoch, shared_folder, at_epoch_begin
):
    whole, run = shared_folder / "whole", shared_folder / "run"
    start(whole, flags, variant, report=False)
    if variant == "two_phase_lars":
        phases = [(row["phase"], row["decays"]) for row in rows(whole)]
        assert len(phases) == 6 and phases[0][0] == "exploration", phases
        assert int(phases[-1][1]) >= 1, f"no decay to test: {phases}"
        config = json.loads((whole / "config.json").read_text())
        assert config["name"] == "digits_resnet:two_phase_lars" and config["epochs"] == 6
        assert config["sub_batch_size"] == 64 and config["schedule"]["patience"] == 1
    else:
        found = [(row["batch_size"], row["adversarial_ratio"]) for row in rows(whole)]
        assert found == [("64", "0.25"), ("128", "0.125"), ("256", "0.0625"), ("512", "0.0")]

    at_epoch_begin(epoch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        start(run, flags, variant, report=False)
    assert len(rows(run)) == epoch
    at_epoch_begin(None, interrupt)
    start(run, flags, variant, resume=True)
    assert rows(run) == rows(whole)
    assert_same_checkpoints(run, whole)
    assert (run / "report.html").exists()


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_what_was(
    shared_folder, at_epoch_begin
):
    run = shared_folder / "run"
    at_epoch_begin(2, lambda model: setattr(model.optimizer, "learning_rate", 1e38))
    flags = {"epochs": 6, "schedule.name": "constant", "warmup.epochs": 0.0}
    message = r"The loss is .* in epoch 3 \(learning rate 1e\+38\)"
    with pytest.raises(FloatingPointError, match=message) as error:
        start(run, flags, "large_batch")
    assert isinstance(error.value, EXPECTED)  # by the command, which then prints it in one line
    assert checkpoints(run) == ["epoch_00001", "epoch_00002"]
    assert [row["loss"] == "nan" for row in rows(run)] == [False, False, True]
    assert (run / "report.html").exists()


def test_what_cannot_be_is_refused_before_anything_is_written(shared_folder):
    run = shared_folder / "run"
    says = "batch_size=500 is not a multiple of 2 ranks x sub_batch_size=64 .= 128.: use 384 or 512"
    with pytest.raises(ValueError, match=says):
        start(run, {"batch_size": 500, "sub_batch_size": 64}, "two_phase_lars")
    assert not run.exists()
