"""How much gets done in a time with several callers at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def rate(call: Callable[[], object], concurrency: int, seconds: float) -> float:
    """What calls do per second with so many threads calling; an error in a call ends the measurement.

    Args:
        call: the work; a float that it returns is how much it did, else it counts once. It is called once before.
        concurrency: threads that call.
        seconds: how long new calls begin.
    """
    done, errors = [0.0] * concurrency, []
    call()  # what is done once is not measured
    end = time.perf_counter() + seconds

    def work(place: int) -> None:
        try:
            while time.perf_counter() < end:
                answer = call()
                done[place] += answer if isinstance(answer, float) else 1
        except Exception as error:  # handed to the caller below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(concurrency)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return sum(done) / (time.perf_counter() - started)
