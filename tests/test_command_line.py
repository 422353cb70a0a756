"""What the commands share: an error is one line, told by the rank that it concerns."""

from __future__ import annotations

import time

import pytest

from tflbt import command_line


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
    file.write_text(
        "from tflbt import recipes\ndef get_config(): return recipes.default_config()\n"
    )
    command_line.check_recipe(["train", *(word.replace("R", str(file)) for word in words)])


def test_a_key_that_there_is_not_is_named_wherever_it_stands(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from tflbt import recipes\ndef get_config(): return recipes.default_config()\n"
    )
    with pytest.raises(ValueError, match="config.data.colour is no key"):
        command_line.check_recipe(["train", "--config.data.colour", "red", "--config", str(file)])
