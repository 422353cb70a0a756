"""The space of a hypermodel is found before a search begins, conditions included."""

from __future__ import annotations

import keras_tuner
import pytest

from tflbt.tuning.hypermodel_space import as_hypermodel, space_of

pytestmark = pytest.mark.usefixtures("settled_before")


def test_a_scope_that_only_a_middle_value_opens_is_entered():
    def declare(hp):
        if hp.Int("n", 0, 9) != 9:
            with hp.conditional_scope("n", [4]):
                if hp.is_active("n") and hp.get("n") == 4:
                    hp.Boolean("found")

    assert [entry.name for entry in space_of(declare).space] == ["n", "found"]


def test_space_of_passes_over_values_that_cannot_be_built_but_not_the_defaults():
    def bad(hp):
        if hp.Choice("layers", [1, 2]) == 2:
            hp.Boolean("bias")
            raise ValueError("too deep")

    assert [entry.name for entry in space_of(bad).space] == ["layers", "bias"]
    with pytest.raises(ZeroDivisionError):
        space_of(lambda hp: 1 / 0)
    with pytest.raises(ValueError, match="^hypermodel=3 must be"):
        space_of(3)


def test_a_function_is_a_hypermodel_and_a_hypermodel_stays():
    assert as_hypermodel(lambda hp: "built").build(keras_tuner.HyperParameters()) == "built"
    hypermodel = keras_tuner.HyperModel()
    assert as_hypermodel(hypermodel) is hypermodel


def test_both_ends_of_a_whole_number_with_a_step_are_tried():
    def build(hp):
        for layer in range(hp.Int("layers", 1, 6, step=2)):
            hp.Float(f"rate_{layer}", 0.0, 0.5)

    names = [entry.name for entry in space_of(build).space]
    assert names == ["layers", *(f"rate_{n}" for n in range(5))]
