"""What the commands share: an error is one line, told by the rank that it concerns."""

from __future__ import annotations

import errno
import time

import pytest

from tflbt import command_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("epochs=0\n  must be at least 1."), "epochs=0 must be at least 1."),
        (OSError(errno.ENOSPC, "the disk is full", "run/x"), "the disk is full: 'run/x'"),
        (OSError("[Errno 28] the disk is full: 'run/x'"), "the disk is full: 'run/x'"),
        (OSError("{{function_node __wrapped__SaveV2}} No space left [Op:SaveV2]"), "No space left"),
        (FloatingPointError(), "FloatingPointError"),
    ],
)
def test_an_error_is_one_line(error, line):
    assert command_line.one_line(error) == line


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        ("Horovod has been shut down. This was caused by an exception on one of the ranks", True),
        ("[...]/gloo/transport/tcp/pair.cc:598] Connection closed by peer [127.0.0.1]:31121", True),
        ("Mismatched allreduce tensor shapes: One rank sent [3]", False),
    ],
)
def test_another_ranks_end_is_told_apart(text, is_so):
    assert command_line.another_rank_ended(RuntimeError(text)) == is_so


def test_the_chief_speaks_at_once_and_others_after_a_while(monkeypatch, capsys):
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    for rank, said in (("0", "error: wrong"), ("1", "error: rank 1: wrong")):
        monkeypatch.setenv("HOROVOD_RANK", rank)
        with pytest.raises(SystemExit) as end:
            command_line.fail(ValueError("wrong"))
        assert end.value.code == 1
        assert capsys.readouterr().err.endswith(f"{said}\n")
    assert waited == [command_line.PATIENCE_SECONDS]


@pytest.mark.parametrize(
    "words",
    [["--config=R", "--config.seed=1"], ["-config", "R", "--noconfig.deterministic"], ["--other"]],
)
def test_recipes_and_keys_that_there_are_pass(words, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from tflbt import recipe\ndef get_config(): return recipes.default_config()\n")
    command_line.check_recipe(["train", *(word.replace("R", str(file)) for word in words)])


def test_a_key_that_there_is_not_is_named_wherever_it_stands(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from tflbt import recipe\ndef get_config(): return recipes.default_config()\n")
    with pytest.raises(ValueError, match="config.data.colour is no key"):
        command_line.check_recipe(["train", "--config.data.colour", "red", "--config", str(file)])
