"""What a job leaves that asks to be started again."""

from __future__ import annotations

import pytest

from tflbt.distributed import restart


def test_the_file_is_whole_and_goes_when_the_run_goes_on(tmp_path):
    folder = tmp_path / "checkpoints"
    restart.forget(folder)  # nothing there
    restart.ask(folder, 4, "resize")
    restart.ask(folder, 2, "preempted")
    assert [path.name for path in folder.iterdir()] == [restart.FILE]
    assert (folder / restart.FILE).read_text() == "2 preempted\n"
    restart.forget(folder)
    assert not list(folder.iterdir())


def test_it_ends_a_program_with_its_status():
    with pytest.raises(SystemExit) as ended:
        raise restart.RestartNeeded("the training ended")
    assert ended.value.code == restart.EXIT_STATUS
    assert str(ended.value) == "the training ended"


def test_launchers_say_what_they_can_grant(monkeypatch):
    monkeypatch.delenv(restart.LIMIT_VARIABLE, raising=False)
    assert restart.most_ranks(8) == 8
    monkeypatch.setenv(restart.LIMIT_VARIABLE, "3")
    assert restart.most_ranks(8) == 3 and restart.most_ranks(2) == 2
    monkeypatch.setenv(restart.LIMIT_VARIABLE, "few")
    with pytest.raises(ValueError, match="^TFLBT_MAX_RANKS='few' must be"):
        restart.most_ranks(8)
