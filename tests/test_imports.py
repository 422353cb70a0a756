"""Imports run one way, down the list of folders below: commands, then recipes, ... then distributed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tflbt
from tests.conftest import rank_environment

ROOT = Path(__file__).resolve().parent.parent
# What a folder may import of tflbt, besides itself; the order is that of the house, from the top down.
BASE = {"distributed", "checks", "legacy_keras"}
DECISIONS = {"control", "optimizers", "schedules"} | BASE
MIDDLE = {"runs", "curvature", "data", "models", "analysis"} | DECISIONS
COMMANDS = {"train", "tune", "report_run", "command_line", "doctor", "benchmarks", "landscape"}
EVERYTHING = COMMANDS | {"recipes", "elastic", "callbacks", "tuning", "training", "report"} | MIDDLE
ALLOWED = {
    **{command: EVERYTHING for command in COMMANDS},
    "recipes": {"elastic", "callbacks", "tuning", "training", "report"} | MIDDLE,
    "elastic": {"callbacks", "training"} | MIDDLE,
    "callbacks": {"training"} | MIDDLE,
    "tuning": {"callbacks", "training", "report"} | MIDDLE,
    "training": {"data", "models", "runs"} | DECISIONS,
    "report": {"runs", "analysis"} | DECISIONS,
    "runs": BASE,
    "curvature": DECISIONS,
    "data": DECISIONS,
    "analysis": DECISIONS,
    "models": {"checks"},
    "optimizers": {"checks", "legacy_keras"},
    "control": {"checks"},
    "schedules": {"control", "checks"},
    "distributed": set(),
    "checks": set(),
    "legacy_keras": set(),
    "__init__": {"legacy_keras"},
}
# These import no TensorFlow, so that a decision can be tested, and a plan drawn, without it.
NO_TENSORFLOW = {"control", "checks"}
TOP_FILES, FOLDER_FILES, REPORT_FILES = 7, 22, 26
FILES = sorted((ROOT / "tflbt").rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names of everything that a file imports, inside functions too; `from a import b` is "a.b"."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports of ours are written out in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def ours(path: Path) -> set[str]:
    """What a file imports of tflbt, without "tflbt."; a public name counts as the file it comes from."""
    names = {name[6:] for name in imports(path) if name.startswith("tflbt.")}
    return {tflbt._HOMES[name][6:] if name in tflbt._HOMES else name for name in names}


def home(path: Path) -> str:
    """The folder of tflbt that a file is in, or the file's own name where it is in none."""
    return path.relative_to(ROOT / "tflbt").with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_run_one_way(path):
    here = home(path)
    assert here in ALLOWED, f"{here}: say in this test what it may import"
    wrong = {name for name in ours(path) if name.split(".")[0] not in ALLOWED[here] | {here}}
    assert not wrong, f"{here} must not import {sorted(wrong)}"
    roots = {name.split(".")[0] for name in imports(path)}
    if here in NO_TENSORFLOW:
        assert not roots & {"tensorflow", "keras", "horovod"}
    if "horovod" in roots:
        assert here == "distributed", "only tflbt/distributed/ imports horovod"


def test_no_file_is_in_a_circle_of_imports():
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES}
    arrows = {
        name: {f"tflbt.{n}" for n in ours(path)}
        | {f"tflbt.{n}".rpartition(".")[0] for n in ours(path)}
        for name, path in modules.items()
    }
    arrows = {name: (to & set(modules)) - {name} for name, to in arrows.items()}
    while free := {name for name, to in arrows.items() if not to & set(arrows)}:
        arrows = {name: to for name, to in arrows.items() if name not in free}
    assert not arrows, f"these import one another in a circle: {sorted(arrows)}"


def test_folders_are_small_enough_to_overlook():
    counts: dict[str, int] = {}
    for path in FILES:
        folder = str(path.parent.relative_to(ROOT))
        counts[folder] = counts.get(folder, 0) + 1
    limits = {"tflbt": TOP_FILES, "tflbt/report": REPORT_FILES}
    over = {f: n for f, n in counts.items() if n > limits.get(f, FOLDER_FILES)}
    assert not over, f"folders with too many files: {over}"


def test_the_walk_finds_what_there_is():
    assert len(FILES) > 40
    assert "distributed.comm" in ours(ROOT / "tflbt/training/update.py")
    assert "horovod.tensorflow" in imports(ROOT / "tflbt/distributed/comm.py")


def test_importing_tflbt_imports_no_tensorflow():
    program = ROOT / "tests" / "without_tensorflow.py"
    subprocess.run([sys.executable, program], env=rank_environment(), check=True)


def test_the_old_name_of_recipes_still_works():
    with pytest.warns(DeprecationWarning, match="tflbt.recipes"):
        from tflbt import recipe

    assert recipe is tflbt.recipes
