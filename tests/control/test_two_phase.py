"""Tests of Algorithm 1: against a second, naive writing of it, and its rules one by one."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest

from tflbt.control import Plateau, TwoPhase
from tflbt.control.two_phase import CONVERGENCE, EXPLORATION, Decision


def algorithm_1(losses, eigenvalues, patience, fraction):
    """The whole run at once, with the paper's h' = 0 for "unset"; returns the decision of each epoch.

    The plateau epoch x and the switching epoch x + ceil(x * fraction) come from the losses beforehand.
    """
    best, improved, plateau = math.inf, 0, None
    for epoch, loss in enumerate(losses, 1):
        if loss < best:
            best, improved = loss, epoch
        if epoch - improved >= patience:
            plateau = epoch
            break
    switch = math.inf if plateau is None else plateau + math.ceil(plateau * fraction)
    decisions, h_ref, f_ref = [], 0.0, 0.0
    for epoch, (f, h) in enumerate(zip(losses, eigenvalues), 1):
        if epoch < switch:
            decisions.append("")
        elif epoch == switch:
            decisions.append("switch")
            h_ref, f_ref = h, f
        elif h_ref > 0 and h_ref < h and f_ref < f:
            decisions.append("decay")
            h_ref = 0.0
        else:
            decisions.append("")
            h_ref, f_ref = h, f
    return decisions


def word(decision: Decision) -> str:
    """The decision in the words of `algorithm_1`."""
    return "switch" if decision.switched else "decay" if decision.decay else ""


def run(machine: TwoPhase, losses, eigenvalues) -> list[str]:
    """Feeds epochs to a machine."""
    return [word(machine.end_of_epoch(f, lambda h=h: h)) for f, h in zip(losses, eigenvalues)]


def random_run(seed: int):
    """Losses that fall and then wobble, and eigenvalues of which some are negative, zero or NaN."""
    random = np.random.default_rng(seed)
    epochs = int(random.integers(5, 60))
    losses = np.round(np.exp(-np.arange(epochs) / 8) + random.normal(0, 0.1, epochs), 2)
    eigenvalues = np.round(random.normal(1.0, 1.0, epochs), 1)
    eigenvalues[random.random(epochs) < 0.03] = np.nan
    losses[random.random(epochs) < 0.02] = np.nan
    patience = int(random.integers(1, 4))
    fraction = [Fraction(0), Fraction(1, 3), Fraction(1, 2), Fraction(1, 10), Fraction(3, 2)][
        seed % 5
    ]
    return losses.tolist(), eigenvalues.tolist(), patience, fraction


@pytest.mark.parametrize("block", range(4))
def test_machine_equals_the_naive_algorithm(block):
    kinds = set()
    for seed in range(150 * block, 150 * (block + 1)):
        losses, eigenvalues, patience, fraction = random_run(seed)
        decisions = run(TwoPhase(Plateau(patience), float(fraction)), losses, eigenvalues)
        assert decisions == algorithm_1(losses, eigenvalues, patience, fraction), f"seed {seed}"
        assert "decay" not in {a for a, b in zip(decisions, decisions[1:]) if b == "decay"}
        assert decisions.count("switch") <= 1
        kinds.update(decisions)
    assert kinds == {"", "switch", "decay"}  # else the comparison shows nothing


@pytest.mark.parametrize("seed", range(40))
def test_state_resumed_at_any_epoch_equals_uninterrupted(seed):
    losses, eigenvalues, patience, fraction = random_run(seed)
    whole = TwoPhase(Plateau(patience), float(fraction))
    expected = run(whole, losses, eigenvalues)
    for cut in range(len(losses) + 1):
        first = TwoPhase(Plateau(patience), float(fraction))
        before = run(first, losses[:cut], eigenvalues[:cut])
        second = TwoPhase.from_state(json.loads(json.dumps(first.state())))
        assert before + run(second, losses[cut:], eigenvalues[cut:]) == expected
        assert json.dumps(second.state()) == json.dumps(whole.state())


@pytest.mark.parametrize(
    "fraction", [Fraction(1, 3), Fraction(0), Fraction(1, 10), Fraction(1, 2), Fraction(2)]
)
@pytest.mark.parametrize("plateau_epoch", [2, 3, 4, 10, 30, 99])
def test_extra_epochs_are_the_fraction_of_the_plateau_epoch_rounded_up(plateau_epoch, fraction):
    """Also where the product is a whole number in theory and a little more in floating point (30 * 0.1)."""
    extra = math.ceil(plateau_epoch * fraction)
    losses = [1.0 - 1e-3 * epoch for epoch in range(plateau_epoch - 1)] + [1.0] * (extra + 3)
    machine = TwoPhase(Plateau(1), float(fraction))
    decisions = run(machine, losses, [1.0] * len(losses))
    assert machine.plateau_epoch == plateau_epoch
    assert decisions.index("switch") + 1 == machine.switch_epoch == plateau_epoch + extra


def test_no_extra_epochs_switch_at_the_plateau_itself():
    assert run(TwoPhase(Plateau(2), 0.0), [1, 1, 1, 1], [1] * 4) == ["", "", "switch", ""]


def test_improvement_in_the_extra_epochs_does_not_undo_the_plateau():
    losses = [1.0, 0.9, 0.9, 0.1, 0.05, 0.01]
    assert run(TwoPhase(Plateau(1), 2 / 3), losses, [1] * 6) == ["", "", "", "", "switch", ""]


def converging(loss: float = 1.0, eigenvalue: float = 1.0) -> TwoPhase:
    """A machine whose convergence phase has just begun, with this record."""
    machine = TwoPhase(Plateau(1), 0.0)
    assert run(machine, [loss, loss], [math.nan, eigenvalue]) == ["", "switch"]
    return machine


def test_loss_and_eigenvalue_must_both_rise():
    assert run(converging(), [2.0], [2.0]) == ["decay"]
    assert run(converging(), [2.0], [0.5]) == [""]
    assert run(converging(), [0.5], [2.0]) == [""]
    assert run(converging(), [1.0], [2.0]) == [""]
    assert run(converging(), [2.0], [1.0]) == [""]


def test_the_epoch_after_a_decay_only_records():
    machine = converging()
    assert run(machine, [2.0, 3.0], [2.0, 3.0]) == ["decay", ""]
    assert (machine.reference_loss, machine.reference_eigenvalue) == (3.0, 3.0)
    assert run(machine, [4.0], [4.0]) == ["decay"]


def test_a_record_is_the_epoch_before_not_the_lowest():
    assert run(converging(), [0.5, 0.8], [0.5, 0.8]) == ["", "decay"]


@pytest.mark.parametrize("reference", [-2.0, 0.0, math.nan])
def test_a_reference_that_is_not_positive_never_decays_but_is_replaced(reference):
    machine = converging(eigenvalue=reference)
    assert run(machine, [2.0, 3.0], [1.0, 2.0]) == ["", "decay"]


@pytest.mark.parametrize("eigenvalue", [-5.0, math.nan])
def test_a_negative_or_nan_eigenvalue_never_decays(eigenvalue):
    assert run(converging(), [2.0, 3.0, 4.0], [eigenvalue, 1.0, 2.0]) == ["", "", "decay"]


def test_a_nan_loss_never_decays():
    assert run(converging(), [math.nan, 3.0, 4.0], [2.0, 3.0, 4.0]) == ["", "", "decay"]


def test_eigenvalue_is_measured_only_where_it_is_needed():
    measured = []
    machine = TwoPhase(Plateau(1), 1.0)
    for epoch in range(1, 8):
        machine.end_of_epoch(1.0, lambda epoch=epoch: measured.append(epoch) or 1.0)
    assert machine.switch_epoch == 4
    assert measured == [4, 5, 6, 7]


def test_the_machine_tells_where_it_is():
    machine = TwoPhase(Plateau(1), 0.0)
    assert machine.phase == EXPLORATION
    run(machine, [1, 1, 2, 3, 4], [1, 1, 2, 3, 4])
    assert (machine.phase, machine.switch_epoch, machine.decays, machine.epoch) == (
        CONVERGENCE,
        2,
        2,
        5,
    )


def warmed_up_losses(epochs: int) -> list[float]:
    """A loss that dips at epoch 4, rises with the rate until epoch 10 and falls in every epoch after it."""
    dip = [2.0, 1.6, 1.2, 1.0, 1.3, 1.6, 1.9, 2.2, 2.5, 2.8]
    return dip + [2.8 - 0.05 * n for n in range(1, epochs - 9)]


def test_a_loss_that_rises_with_the_warm_up_is_no_plateau():
    """With a patience of 15 (5% of 300 epochs) flat at 19 = 4 + 15, convergence at 26, unless it counts from 10."""
    losses = warmed_up_losses(44)  # down to 1.1: always above the dip
    every = TwoPhase(Plateau(15))
    assert run(every, losses, [1.0] * 44).index("switch") + 1 == 26 and every.plateau_epoch == 19
    after = TwoPhase(Plateau(15), begin=10.0)
    assert "switch" not in run(after, losses, [1.0] * 44) and after.plateau.best == losses[43]
    # Flat from epoch 45 on: found at 59, whose third is 20 epochs more.
    switch = run(after, [losses[43]] * 40, [1.0] * 40).index("switch") + 1
    assert (after.plateau_epoch, 44 + switch) == (59, 79)


def test_an_epoch_that_the_warm_up_ends_in_is_passed_over():
    machine = TwoPhase(Plateau(1), 0.0, begin=1.5)
    assert run(machine, [0.1, 0.1, 5.0, 5.0], [1.0] * 4) == ["", "", "", "switch"]


def test_a_state_of_before_begin_is_taken_up():
    state = TwoPhase(Plateau(2)).state()
    del state["begin"]
    assert TwoPhase.from_state(state).begin == 0.0


@pytest.mark.parametrize("begin", [-0.5, math.nan])
def test_wrong_begin_is_named(begin):
    with pytest.raises(ValueError, match="begin="):
        TwoPhase(Plateau(1), begin=begin)


@pytest.mark.parametrize("fraction", [-0.1, math.nan])
def test_wrong_fraction_is_named(fraction):
    with pytest.raises(ValueError, match="extra_fraction="):
        TwoPhase(Plateau(1), fraction)
