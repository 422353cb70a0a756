"""What a process does, seen from outside: it works, it waits, it is stopped."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
import time

from tflbt.distributed.activity import Activity, idle_seconds, is_stopped, usage, whereabouts


def test_idle_is_little_use_of_the_processor():
    busy = [(t, 0.5 * t, 0.5 * t) for t in range(50)]
    assert idle_seconds(busy) == 0
    starved = [(t, 0.001 * t, 0.9 * t) for t in range(50)]  # on a machine with too much to do
    assert idle_seconds(starved) == 0
    stuck = [(49 + t, 24.5 + 0.001 * t, 24.5 + 0.01 * t) for t in range(50)]
    assert 49 <= idle_seconds(busy + stuck) <= 51


def test_a_process_that_works_waits_and_is_stopped():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        activity = Activity(child.pid)
        activity.sample()
        before = usage(child.pid)[1]
        while usage(child.pid)[1] < before + 0.1:  # ran, or wanted to
            time.sleep(0.01)
        assert activity.sample() == 0
        assert not is_stopped(child.pid)
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        assert is_stopped(child.pid)
        activity.restart()
        activity.sample()
        time.sleep(0.02)
        assert activity.sample() > 0
        child.kill()
    assert not is_stopped(child.pid) and Activity(child.pid).sample() == 0


def test_hidden_threads_do_not_count():
    hidden = {thread.native_id for thread in threading.enumerate()} | set(
        map(int, os.listdir("/proc/self/task"))
    )
    assert usage("self", hidden) == (0, 0, 0)


def test_where_a_program_is(monkeypatch):
    mine = (
        threading.current_thread()
    )  # tests run in another than the main one where they are shared out
    monkeypatch.setattr(threading, "main_thread", lambda: mine)
    all_frames = (
        sys._current_frames
    )  # without the thread in which execnet reads, which threading does not know
    monkeypatch.setattr(sys, "_current_frames", lambda: {mine.ident: all_frames()[mine.ident]})
    with concurrent.futures.ThreadPoolExecutor() as watcher:
        assert watcher.submit(whereabouts).result().startswith("test_where_a_program_is (test_act")
