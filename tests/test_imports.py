"""Imports run one way, as in the house's plan: commands, then callbacks and training, ... then distributed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    "train",
    "tune",
    "command_line",
    "recipe",
    "recipe_batch",
    "recipe_build",
    "recipe_compare",
    "recipe_data",
    "recipe_flags",
    "recipe_monitors",
    "recipe_optimizer",
    "recipe_run",
    "recipe_schedules",
    "recipe_space",
    "recipe_strategies",
    "recipe_tune",
    "report_run",
    "doctor",
    "benchmarks",
)
MIDDLE = {"callbacks", "training", "tuning", "report"}
LOWER = {"control", "curvature", "optimizers", "schedules", "data", "models", "analysis"}
# What a folder may import of ours, besides itself. Everything else in tflbt/ is a command and may import all.
ALLOWED = {
    "distributed": set(),
    "optimizers": set(),
    "models": set(),
    "control": set(),
    **{
        folder: LOWER | {"distributed"} for folder in ("curvature", "schedules", "data", "analysis")
    },
    "training": LOWER | {"distributed"},
    "report": LOWER | {"distributed"},
    "callbacks": LOWER | {"distributed", "training", "report.metrics", "report.run_directory"},
    "tuning": LOWER | MIDDLE | {"distributed"},
}
MAY_IMPORT_CALLBACKS = {
    "callbacks",
    "tuning",
    "train",
    "tune",
    "recipe_batch",
    "recipe_build",
    "recipe_monitors",
    "recipe_run",
    "recipe_schedules",
    "report_run",
}
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
    """What a file imports of tflbt, without "tflbt."."""
    return {name[6:] for name in imports(path) if name.startswith("tflbt.")}


def home(path: Path) -> str:
    """The folder of tflbt that a file is in, or the file's own name where it is in none."""
    return path.relative_to(ROOT / "tflbt").with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_run_one_way(path):
    here = home(path)
    names = ours(path)
    if here in ALLOWED:
        allowed = ALLOWED[here] | {here}
        wrong = {n for n in names if not any(f"{n}.".startswith(f"{a}.") for a in allowed)}
        assert not wrong, f"{here} must not import {sorted(wrong)}"
    else:
        assert here in (*COMMANDS, "__init__"), f"{here}: say in this test what it may import"
    roots = {name.split(".")[0] for name in imports(path)}
    if here == "control":
        assert not roots & {"tensorflow", "keras", "horovod"}
    if "horovod" in roots:
        assert path == ROOT / "tflbt/distributed/comm.py", "only comm.py imports horovod"
    if any(name.split(".")[0] == "callbacks" for name in names):
        assert here in MAY_IMPORT_CALLBACKS, f"{here} must not import callbacks"


def test_the_walk_finds_what_there_is():
    assert len(FILES) > 40
    assert "distributed.comm" in ours(ROOT / "tflbt/training/update.py")
    assert "horovod.tensorflow" in imports(ROOT / "tflbt/distributed/comm.py")


def test_importing_tflbt_imports_no_tensorflow():
    code = "import sys, tflbt, tflbt.control; assert 'tensorflow' not in sys.modules; tflbt.LargeBatchModel"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
