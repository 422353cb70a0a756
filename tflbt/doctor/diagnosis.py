"""Decides which installed parts are fine, missing, or would keep training from starting.

`tflbt.doctor.machine` examines the machine and `tflbt.doctor` prints; no installed package is needed here.
"""

from __future__ import annotations

import dataclasses

from tflbt.doctor import gpus
from tflbt.doctor.facts import Facts, Finding

_INSTALL = "run mpi/install.sh"
# The TensorFlows that tflbt is tested with, and the Pythons that have them.
_LANES = {"2.15": ((3, 9), (3, 11)), "2.18": ((3, 10), (3, 12)), "2.20": ((3, 10), (3, 12))}
_OPTIONAL = (
    ("TensorFlow Addons", "tensorflow-addons", "addons"),
    ("KerasTuner", "keras-tuner", "tuner"),
)


def judge(facts: Facts, ranks: int = 1) -> list[Finding]:
    """Decides for every part whether `ranks` ranks could train with it on this machine; 1 needs no Horovod."""
    return [
        _judge_python(facts),
        *_judge_tensorflow(facts),
        *_judge_horovod(facts, ranks),
        *gpus.judge(facts, ranks),
        _judge_launchers(facts),
        _judge_cores(facts, ranks),
        Finding("ok", "Memory", f"{facts.memory_gib:.1f} GiB"),
        *_judge_optional(facts),
    ]


def could_train(findings: list[Finding]) -> bool:
    """True if training could start, because no finding is an error or unknown."""
    return all(finding.status not in ("error", "unknown") for finding in findings)


def render(findings: list[Finding]) -> str:
    """Formats the findings in columns, with each hint on a line of its own.

    Example:
        >>> print(render([Finding("missing", "Horovod", "not installed", "run mpi/install.sh")]))
        missing  Horovod  not installed
                 fix:     run mpi/install.sh
    """
    wide = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.status:<7}  {finding.name:<{wide}}  {finding.value}")
        if finding.hint:
            lines.append(f"{'':<7}  {'fix:':<{wide}}  {finding.hint}")
    return "\n".join(lines)


def lane(facts: Facts) -> str | None:
    """The TensorFlow that tflbt is tested with and that is installed, such as "2.15"; None if it is another."""
    release = ".".join((facts.tensorflow or "").split(".")[:2])
    return release if release in _LANES else None


def _judge_python(facts: Facts) -> Finding:
    version = ".".join(map(str, facts.python))
    lanes = [lane(facts)] if lane(facts) else list(_LANES)
    if any(_LANES[each][0] <= facts.python[:2] <= _LANES[each][1] for each in lanes if each):
        return Finding("ok", "Python", version)
    hint = (
        "TensorFlow 2.15 is made for Python 3.9 to 3.11 only: mpi/install.sh --python PATH, or --tensorflow 2.18 for "
        "Python 3.10 to 3.12"
    )
    return Finding("error", "Python", version, hint)


def unanswered(name: str, seconds: float, load: float, cores: int) -> Finding:
    """A part that did not answer in time, which does not mean that it is broken: the machine is slow, or it hangs."""
    busy = f"{load:.0f} processes want its {cores} cores" if load > cores else "its disk or network"
    hint = f"the machine is slow ({busy}), or this hangs: wait, or give it longer by --seconds={2 * seconds:.0f}"
    return Finding("unknown", name, f"no answer in {seconds:.0f} s", hint)


def _judge_tensorflow(facts: Facts) -> list[Finding]:
    if "TensorFlow" in facts.unanswered:
        return [unanswered("TensorFlow", facts.seconds, facts.load, facts.cores)]
    if facts.tensorflow is None or facts.keras is None:
        value = facts.tensorflow_error or "not installed"
        hint = f"{_INSTALL}, or pip install tensorflow-cpu==2.15.1 for one process"
        if "Keras cannot be imported" in value:
            hint = "TF_USE_LEGACY_KERAS is set, but tf_keras is not installed: unset the one or install the other"
        return [Finding("error", "TensorFlow", value, hint)]
    tensorflow = Finding("ok", "TensorFlow", facts.tensorflow)
    if lane(facts) is None:
        hint = (
            f"tflbt is tested with 2.15.1, and with tf_keras on 2.18.1 and 2.20.0, only: {_INSTALL}"
        )
        tensorflow = dataclasses.replace(tensorflow, status="warning", hint=hint)
    return [tensorflow, _judge_keras(facts, facts.keras)]


def _judge_keras(facts: Facts, keras: str) -> Finding:
    if int(keras.split(".")[0]) >= 3:
        hint = (
            "under Keras 3 Horovod trains without ever reducing: TensorFlow 2.15, or tf_keras with "
            "TF_USE_LEGACY_KERAS=1 (mpi/install.sh --tensorflow 2.18 sets it)"
        )
        return Finding("error", "Keras", keras, hint)
    if facts.keras_by_tflbt:
        hint = "import tflbt before tensorflow, or set TF_USE_LEGACY_KERAS=1: otherwise tf.keras is Keras 3"
        return Finding("warning", "Keras", keras, hint)
    return Finding("ok", "Keras", keras)


def _judge_horovod(facts: Facts, ranks: int) -> list[Finding]:
    trouble = "error" if ranks > 1 else "warning"
    version, parts = facts.versions.get("horovod"), facts.horovod_parts
    if version is None:
        status = "error" if ranks > 1 else "missing"
        hint = f"one process trains without it, several do not: {_INSTALL}"
        return [Finding(status, "Horovod", "not installed", hint)]
    if "Horovod" in facts.unanswered:
        return [unanswered("Horovod", facts.seconds, facts.load, facts.cores)]
    if "TensorFlow" not in parts:
        why = f": {facts.horovod_error}" if facts.horovod_error else ""
        value = f"{version}, but its TensorFlow part does not load{why}"
        hint = "see what TensorFlow says above; Horovod may be fine"
        if "signal" in facts.horovod_error:
            hint = "it was killed, by the system for want of memory or by somebody: try again"
        elif facts.tensorflow is not None:
            hint = f"it was built for another TensorFlow or MPI: pip uninstall horovod, then {_INSTALL}"
        return [Finding(trouble, "Horovod", value, hint)]
    found = [Finding("ok", "Horovod", version)]
    controllers = ", ".join(name for name in ("Gloo", "MPI") if name in parts)
    operations = ", ".join(name for name in ("NCCL", "DDL", "CCL", "MPI", "Gloo") if name in parts)
    operations = operations.replace("NCCL", f"NCCL {facts.nccl}".strip())
    if not controllers:
        hint = f"it was built without Gloo and MPI: pip uninstall horovod, then {_INSTALL}"
        return [*found, Finding(trouble, "- controllers", "none", hint)]
    found.append(Finding("ok", "- controllers", controllers))
    if facts.gpus and "NCCL" not in parts:
        hint = "gradients of GPUs go through the processor's memory: mpi/install.sh --gpu"
        return [*found, Finding("warning", "- operations", operations, hint)]
    return [*found, Finding("ok", "- operations", operations)]


def _judge_launchers(facts: Facts) -> Finding:
    if not facts.launchers:
        hint = f"several ranks need one: {_INSTALL}"
        return Finding("missing", "Launchers", "no horovodrun, mpirun or srun", hint)
    versions = "; ".join(f"{name}: {version}" for name, version in facts.launchers.items())
    return Finding("ok", "Launchers", versions)


def _judge_cores(facts: Facts, ranks: int) -> Finding:
    if ranks <= facts.cores or facts.gpus:
        return Finding("ok", "Cores", str(facts.cores))
    hint = f"{ranks} ranks would take turns on them: start at most {facts.cores}"
    return Finding("warning", "Cores", str(facts.cores), hint)


def _judge_optional(facts: Facts) -> list[Finding]:
    findings = []
    for name, part, extra in _OPTIONAL:
        version = facts.versions.get(part)
        if version:
            findings.append(Finding("ok", name, version))
        elif part == "tensorflow-addons" and facts.tensorflow and lane(facts) != "2.15":
            hint = "only if wanted: it imports under TensorFlow 2.15 alone (mpi/install.sh --tensorflow 2.15)"
            findings.append(Finding("missing", name, "not installed", hint))
        else:
            hint = f"only if wanted: {_INSTALL}, or the extra '{extra}'"
            findings.append(Finding("missing", name, "not installed", hint))
    return findings
