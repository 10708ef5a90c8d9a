import threading
import time

import pytest

from fmnet.data.threads import map_in_threads


@pytest.mark.parametrize("n_jobs", [1, 2, 5])
def test_results_come_in_order(n_jobs):
    def work(number):
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(map_in_threads(work, range(20), n_jobs)) == [n * n for n in range(20)]


def test_no_more_are_worked_on_at_a_time_than_asked_for():
    lock = threading.Lock()
    now, most = 0, 0

    def work(_):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.001)
        with lock:
            now -= 1

    list(map_in_threads(work, range(30), 3))
    assert 1 <= most <= 3


def test_a_failure_ends_the_work():
    done = []

    def work(number):
        done.append(number)
        time.sleep(0.001)
        if number == 2:
            raise RuntimeError("full disk")

    with pytest.raises(RuntimeError, match="full disk"):
        list(map_in_threads(work, range(500), 2))
    assert len(done) < 50
