"""What becomes of `neurips16 serve` when its server ends, again and again."""

from __future__ import annotations

import threading

import pytest

from neurips16.serving.errors import PortTakenError, ServerFailedError
from neurips16.serving.triton import foreground
from neurips16.serving.triton.foreground import LONGEST_DELAY_S, MAX_FAILED_STARTS, Service, delay


class Ending:
    """A server that ends by itself ``ends`` times, and of whose later starts ``fails`` fail."""

    def __init__(self, ends: int, fails: int, stop: threading.Event):
        self.starts, self._ends, self._fails, self._stop = 0, ends, fails, stop
        self.models, self.url, self.http_url, self.admin_token_file = {"m"}, "127.0.0.1:1", "127.0.0.1:2", "file"
        self.ports = {"gRPC": 1, "HTTP": None, "metrics": 3}

    def start(self) -> None:
        self.starts += 1
        if 1 < self.starts <= self._fails + 1:
            raise PortTakenError("somebody has the port")

    def wait_ready(self, timeout_s: float, *, abandon: threading.Event) -> bool:
        return True

    def failure(self) -> str | None:
        if self._ends == 0:
            self._stop.set()
            return None
        self._ends -= 1
        return "Triton ended by itself with status -6"

    def stop(self) -> None:
        pass


@pytest.fixture
def serve(monkeypatch):
    """Runs a service on an `Ending`; the server, and the waits that there were."""

    def run(ends: int, fails: int = 0) -> tuple[Ending, list[float]]:
        stop, waits = threading.Event(), []
        monkeypatch.setattr(foreground, "TritonServer", lambda repositories, **options: Ending(ends, fails, stop))
        monkeypatch.setattr(foreground.signal, "signal", lambda number, handler: None)
        monkeypatch.setattr(foreground.Service, "_follow_log", lambda self: None)
        options = dict.fromkeys(["http_host", "metrics_host", "tls", "admin_token", "models", "memory_limit"])
        service = Service(
            [],
            host="127.0.0.1",
            ports=(0, None, 0),
            insecure_plaintext=False,
            model_control="none",
            timeout_s=1,
            verbose=False,
            **options,
        )

        def wait(seconds: float) -> bool:
            if seconds != foreground.POLL_S:
                waits.append(seconds)
            return stop.is_set()

        monkeypatch.setattr(service._stopping, "wait", wait)
        server = service._server
        service.run()
        return server, waits

    return run


def test_a_server_that_ends_is_started_again_ever_later_and_for_ever(serve):
    server, waits = serve(ends=500)
    assert server.starts == 501
    assert waits[:5] == [0, 1, 2, 4, 8]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_DELAY_S == max(waits)


def test_a_start_that_fails_is_tried_again(serve):
    assert serve(ends=1, fails=MAX_FAILED_STARTS - 1)[0].starts == MAX_FAILED_STARTS + 1


def test_but_not_for_ever(serve):
    with pytest.raises(PortTakenError):
        serve(ends=1, fails=MAX_FAILED_STARTS)


def test_a_first_start_that_fails_is_an_error(serve, monkeypatch):
    def fail(self: Ending) -> None:
        raise ServerFailedError("no")

    monkeypatch.setattr(Ending, "start", fail)
    with pytest.raises(ServerFailedError):
        serve(ends=0)


def test_delays_are_bounded():
    assert delay(10**6) == LONGEST_DELAY_S
