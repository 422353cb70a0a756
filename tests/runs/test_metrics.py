"""metrics.csv: exact, in order, whole at every moment."""

from __future__ import annotations

import math
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import rank_environment
from tflbt.runs import atomic_file
from tflbt.runs.metrics import MetricsTable, columns_in_order


@pytest.fixture
def table(tmp_path):
    return MetricsTable(tmp_path / "metrics.csv")


def test_documented_order_of_columns():
    documented = [
        *("epoch", "updates", "samples", "loss", "accuracy", "top5"),
        *("val_loss", "val_accuracy", "val_top5", "learning_rate", "batch_size", "phase"),
        *("eigenvalue", "curvature_products", "decays", "growths", "adversarial_ratio", "seconds"),
        *("seconds_computation", "seconds_communication", "seconds_curvature"),
        *("seconds_resizing", "seconds_input", "seconds_validation", "seconds_else"),
    ]
    mixed = sorted(documented)
    ordered = columns_in_order(mixed)
    assert ordered == documented


def test_floats_read_back_exactly(table):
    draw = random.Random(0)
    values = [draw.uniform(-1, 1) * 10 ** draw.randint(-300, 300) for _ in range(50)]
    values += [0.1, 1 / 3, 5e-324, float(np.float32(3.2)), math.inf, -math.inf]
    for epoch, value in enumerate(values, start=1):
        table.append({"epoch": epoch, "loss": value})
    assert [row["loss"] for row in table.read()] == values


def test_nan_and_numpy_scalars(table):
    table.append({"epoch": np.int64(1), "loss": np.float32(0.5), "val_loss": math.nan})
    row = table.read()[0]
    assert row["epoch"] == 1 and isinstance(row["epoch"], int)
    assert row["loss"] == 0.5 and math.isnan(row["val_loss"])


def test_new_columns_leave_earlier_rows_empty(table):
    table.append({"epoch": 1, "loss": 1.0})
    table.append({"epoch": 2, "loss": 0.5, "eigenvalue": 7.0, "phase": "convergence"})
    table.append({"epoch": 3, "loss": 0.25})
    rows = table.read()
    assert [row["eigenvalue"] for row in rows] == [None, 7.0, None]
    assert list(rows[0]) == ["epoch", "loss", "phase", "eigenvalue"]


def test_commas_and_quotes_in_text(table):
    table.append({"epoch": 1, "phase": 'a, "b"'})
    assert table.read()[0]["phase"] == 'a, "b"'


def test_truncate_keeps_the_rows_up_to_an_epoch(table):
    for epoch in range(1, 6):
        table.append({"epoch": epoch, "loss": 1 / epoch})
    assert table.truncate(3) == 2
    assert [row["epoch"] for row in table.read()] == [1, 2, 3]
    before = table.path.read_bytes()
    assert table.truncate(10) == 0
    assert table.path.read_bytes() == before


def test_truncate_without_a_file(table):
    assert table.truncate(0) == 0
    assert not table.path.exists()


@pytest.mark.parametrize("damage", ["3,0.2", "3", "3,0.25,7\n", "\0\0\0\0"])
def test_a_damaged_last_line_is_left_out(table, damage):
    table.append({"epoch": 1, "loss": 0.5})
    table.append({"epoch": 2, "loss": 0.4})
    with table.path.open("a") as file:
        file.write(damage)
    assert [row["epoch"] for row in table.read()] == [1, 2]
    table.append({"epoch": 3, "loss": 0.3})
    assert [row["epoch"] for row in table.read()] == [1, 2, 3]


def test_a_damaged_line_between_names_file_and_line(table):
    table.path.write_text("epoch,loss\n1,0.5\n2\n3,0.1\n")
    with pytest.raises(ValueError, match=r"metrics\.csv, line 3: 1 cells .* 2"):
        table.read()


def test_a_row_is_added_at_the_end_unless_the_file_has_changed(table, monkeypatch):
    rewritten, write = [], atomic_file.write
    monkeypatch.setattr(
        atomic_file, "write", lambda path, text: rewritten.append(text) or write(path, text)
    )
    for epoch in range(1, 6):
        table.append({"epoch": epoch, "loss": 1 / epoch, "phase": None if epoch % 2 else "a,b"})
    assert len(rewritten) == 1
    table.append({"epoch": 6, "val_loss": 0.5})  # a column that appears late
    table.append({"loss": 1 / 7, "epoch": 7})
    assert len(rewritten) == 2
    others = MetricsTable(table.path)
    others.truncate(6)
    others.append({"epoch": 7, "loss": 0.25})
    table.append({"epoch": 8, "loss": 0.125})
    assert [row["loss"] for row in table.read()] == [
        *(1 / n for n in range(1, 6)),
        None,
        0.25,
        0.125,
    ]
    assert MetricsTable(table.path).read() == table.read()


def test_a_full_disk_leaves_the_earlier_rows(table):
    table.append({"epoch": 1, "loss": 0.5})
    table.append({"epoch": 2, "loss": 0.4})
    before, limits = table.path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 3, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write.*metrics\.csv"):
            table.append({"epoch": 3, "loss": 0.3})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert table.path.read_bytes() == before
    table.append({"epoch": 3, "loss": 0.3})
    assert [row["epoch"] for row in table.read()] == [1, 2, 3]


def test_killed_at_any_moment_the_file_is_whole(tmp_path):
    """SIGKILL while rows are written: what is there is a prefix of what was to be written."""
    program = str(Path(__file__).with_name("endless_writer.py"))
    for trial in range(4):
        path = tmp_path / f"{trial}.csv"
        command = [sys.executable, program, str(path)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env=rank_environment(), cwd=tmp_path
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"on\n"
            time.sleep(0.05 + 0.043 * trial)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        text = path.read_text()
        assert text.endswith("\n")
        rows = MetricsTable(path).read()
        assert rows
        assert rows == [
            {"epoch": n, "loss": 1 / n, "phase": "x" * 2000} for n in range(1, len(rows) + 1)
        ]


def test_arrays_have_a_column_per_number_and_what_is_no_number_a_cell_or_none(tmp_path):
    table = MetricsTable(tmp_path / "metrics.csv")
    table.append({"epoch": 1, "f1": np.array([0.5, 1.0]), "one": np.array([2.0]), "note": "text"})
    table.append({"epoch": 2, "none": None, "names": ["a"] * 3, "huge": np.zeros(10_000)})
    first, second = table.read()
    assert (first["f1_0"], first["f1_1"], first["one"], first["note"]) == (0.5, 1.0, 2.0, "text")
    assert second["f1_0"] is None and not {"f1", "names", "huge"} & set(second)
