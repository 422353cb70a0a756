"""What the doctor concludes: which parts stop training, for one rank and for several."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tflbt.doctor.diagnosis import Facts, Finding, could_train, judge, render

HEALTHY = Facts(
    python=(3, 11, 7),
    versions={"horovod": "0.28.1", "tensorflow-addons": "0.23.0", "keras-tuner": "1.4.8"},
    tensorflow="2.15.1",
    tensorflow_error="",
    keras="2.15.0",
    gpus=(),
    horovod_parts=frozenset({"TensorFlow", "MPI", "Gloo"}),
    launchers={"horovodrun": "0.28.1"},
    cores=4,
    memory_gib=16.0,
)


def diagnose(ranks: int = 1, **changes: Any) -> tuple[bool, dict[str, Finding]]:
    findings = judge(dataclasses.replace(HEALTHY, **changes), ranks)
    return could_train(findings), {finding.name: finding for finding in findings}


def test_healthy() -> None:
    ready, found = diagnose(ranks=4)
    assert ready
    assert {finding.status for finding in found.values()} == {"ok"}
    assert not any(finding.hint for finding in found.values())


@pytest.mark.parametrize(
    ("python", "ready"),
    [((3, 8, 18), False), ((3, 9, 0), True), ((3, 11, 99), True), ((3, 12, 0), False)],
)
def test_python(python: tuple[int, ...], ready: bool) -> None:
    assert diagnose(python=python)[0] == ready


@pytest.mark.parametrize(
    ("python", "tensorflow", "status"),
    [
        ((3, 12, 1), "2.18.1", "ok"),
        ((3, 12, 1), "2.20.0", "ok"),
        ((3, 9, 18), "2.18.1", "error"),
        ((3, 13, 0), "2.18.1", "error"),
        ((3, 12, 1), None, "ok"),  # that TensorFlow is missing is another line
    ],
)
def test_each_lane_has_its_pythons(python, tensorflow, status) -> None:
    found = diagnose(python=python, tensorflow=tensorflow)[1]
    assert found["Python"].status == status
    assert ("--tensorflow 2.18" in found["Python"].hint) == (status == "error")


def test_the_second_lane_is_healthy_and_has_no_addons() -> None:
    second = {"tensorflow": "2.18.1", "keras": "2.18.0", "python": (3, 12, 1)}
    ready, found = diagnose(2, **second, versions={"horovod": "0.28.1", "keras-tuner": "1.4.8"})
    assert ready
    assert found["TensorFlow"].status == found["Keras"].status == "ok"
    assert "TensorFlow 2.15 alone" in found["TensorFlow Addons"].hint
    assert diagnose(**second, keras_by_tflbt=True)[1]["Keras"].status == "warning"


def test_tensorflow_that_does_not_import_tells_why() -> None:
    ready, found = diagnose(tensorflow=None, keras=None, tensorflow_error="ImportError: libfoo")
    assert not ready
    assert found["TensorFlow"].value == "ImportError: libfoo"
    assert "install.sh" in found["TensorFlow"].hint
    error = "ImportError: Keras cannot be imported. Check that it is installed."
    found = diagnose(tensorflow=None, keras=None, tensorflow_error=error)[1]
    assert "unset" in found["TensorFlow"].hint


def test_keras_3_is_an_error_even_for_one_process() -> None:
    ready, found = diagnose(tensorflow="2.16.2", keras="3.3.3")
    assert not ready
    assert "without ever reducing" in found["Keras"].hint
    assert found["TensorFlow"].status == "warning"


def test_legacy_keras_on_a_later_tensorflow_may_train() -> None:
    ready, found = diagnose(tensorflow="2.16.2", keras="2.16.0")
    assert ready
    assert found["Keras"].status == "ok"


@pytest.mark.parametrize(
    ("changes", "one_rank"),
    [
        ({"versions": {}}, "missing"),
        ({"horovod_parts": frozenset({"MPI", "Gloo"})}, "warning"),
    ],
)
def test_without_horovod_one_process_trains_and_two_do_not(changes: dict, one_rank: str) -> None:
    ready, found = diagnose(ranks=1, **changes)
    assert ready
    assert found["Horovod"].status == one_rank
    ready, found = diagnose(ranks=2, **changes)
    assert not ready
    assert found["Horovod"].status == "error"


def test_what_does_not_answer_is_slow_and_not_broken() -> None:
    late = {"unanswered": frozenset({"Horovod"}), "horovod_parts": frozenset(), "seconds": 600.0}
    ready, found = diagnose(**late, load=20.0)
    assert not ready and found["Horovod"].status == "unknown"
    assert found["Horovod"].value == "no answer in 600 s"
    assert "20 processes want its 4 cores" in found["Horovod"].hint
    assert "--seconds=1200" in found["Horovod"].hint and "uninstall" not in found["Horovod"].hint
    assert "its disk or network" in diagnose(**late, load=1.0)[1]["Horovod"].hint
    late = {"unanswered": frozenset({"TensorFlow"}), "tensorflow": None, "keras": None}
    assert diagnose(**late)[1]["TensorFlow"].status == "unknown"


@pytest.mark.parametrize(
    ("changes", "uninstall"),
    [
        ({"horovod_error": "ImportError: mpi_lib.so: undefined symbol: _ZN10tensorflow"}, True),
        ({"horovod_error": "ImportError: libfoo", "tensorflow": None, "keras": None}, False),
        ({"horovod_error": "ended by signal 9"}, False),
    ],
)
def test_only_a_wrong_build_is_to_be_uninstalled(changes: dict, uninstall: bool) -> None:
    found = diagnose(horovod_parts=frozenset(), **changes)[1]["Horovod"]
    assert changes["horovod_error"] in found.value
    assert ("pip uninstall" in found.hint) == uninstall


def test_horovod_without_a_controller() -> None:
    parts = frozenset({"TensorFlow"})
    assert diagnose(ranks=1, horovod_parts=parts)[0]
    assert not diagnose(ranks=2, horovod_parts=parts)[0]


def test_gpus_a_rank_would_take() -> None:
    gpus = ("A100", "A100")
    _, found = diagnose(gpus=gpus)
    assert found["GPUs"].value == "local rank 0: A100; 1 not used by 1 rank"
    ready, found = diagnose(gpus=gpus, ranks=2)
    assert ready
    assert found["GPUs"].value == "local rank 0: A100; local rank 1: A100"
    assert found["- operations"].status == "warning"
    assert "--gpu" in found["- operations"].hint
    ready, found = diagnose(gpus=gpus, ranks=3)
    assert not ready
    assert "at most 2 ranks" in found["GPUs"].hint


def test_more_ranks_than_cores_is_a_warning() -> None:
    ready, found = diagnose(ranks=5)
    assert ready
    assert found["Cores"].status == "warning"


def test_optional_parts_and_launchers_may_be_missing() -> None:
    ready, found = diagnose(versions={"horovod": "0.28.1"}, launchers={})
    assert ready
    missing = {name for name, finding in found.items() if finding.status == "missing"}
    assert missing == {"TensorFlow Addons", "KerasTuner", "Launchers"}


def test_columns_line_up() -> None:
    findings = [Finding("ok", "A", "value"), Finding("error", "Longer", "value", "hint")]
    lines = render(findings).splitlines()
    assert {line.index("value") for line in lines if "value" in line} == {17}
    assert lines[2].index("hint") == 17
