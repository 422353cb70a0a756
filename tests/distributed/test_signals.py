"""Signals that announce the end: noted at once, echoes are not a second one, and the handlers come back."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from tflbt.distributed import signals


def wait_for(condition):
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.001)
    return condition()


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_is_noted_while_python_is_busy_and_its_echo_ends_nothing(number):
    before = signal.getsignal(number)
    with signals.listening() as notice:
        assert not notice.received
        os.kill(os.getpid(), number)
        assert wait_for(lambda: notice.received)
        os.kill(os.getpid(), number)  # as a launcher hands it on
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_a_second_signal_ends_the_process_even_if_its_main_thread_waits():
    child = os.fork()
    if child == 0:
        signals.ECHO_SECONDS = 0.0
        with signals.listening() as notice:
            os.kill(os.getpid(), signal.SIGTERM)
            wait_for(lambda: notice.received)
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            signal.sigwait([signal.SIGALRM])  # for ever, in one step of Python's
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 128 + signal.SIGTERM


def test_in_a_thread_it_says_that_it_cannot(caplog):
    found = []

    def listen():
        with signals.listening() as notice:
            found.append(notice.received)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert found == [False]
    assert "fit runs in a thread" in caplog.text
