import grpc
import pytest

from neurips16.clients.protocol import messages
from neurips16.clients.protocol.attempts import Attempts, deadline_of
from neurips16.clients.protocol.connection import Connection, Retry, Timeout
from neurips16.clients.protocol.errors import DeadlineExceededError, ServerUnavailableError


class Failed(grpc.RpcError):
    def __init__(self, code):
        self._code = code

    def code(self):
        return self._code

    def details(self):
        return "some\ndetails"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


UNAVAILABLE = Failed(grpc.StatusCode.UNAVAILABLE)


def attempts(rpc=None, retry=None, timeout=None, timeout_s=None):
    clock = Clock()
    deadline = deadline_of(timeout_s, clock=clock)
    connection = Connection.of("there:1", retry=retry or Retry(3, 1.0, 4.0), timeout=timeout or Timeout(60, 10))
    return Attempts(rpc or messages.infer("m", {}), connection, deadline=deadline, clock=clock), clock


def test_a_call_has_one_deadline_for_all_its_attempts():
    these, clock = attempts()
    assert these.remaining_s() == pytest.approx(60)
    clock.now += 45
    assert these.remaining_s() == pytest.approx(15)
    clock.now += 100
    assert 0 < these.remaining_s() < 0.01
    assert attempts(messages.server_ready())[0].remaining_s() == pytest.approx(10)
    assert attempts(timeout_s=3)[0].remaining_s() == pytest.approx(3)


def test_unavailable_is_tried_again_as_often_as_said():
    these, _ = attempts()
    assert 0 <= these.delay_s(UNAVAILABLE) <= 1
    assert 0 <= these.delay_s(UNAVAILABLE) <= 2
    with pytest.raises(ServerUnavailableError, match=r"there:1 \(3 attempts in 0.0 s: some details\)") as caught:
        these.delay_s(UNAVAILABLE)
    assert caught.value.__cause__ is UNAVAILABLE
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def test_no_attempt_begins_after_the_deadline():
    these, clock = attempts(retry=Retry(100, 1.0, 4.0))
    clock.now += 60
    with pytest.raises(ServerUnavailableError, match="1 attempt in 60"):
        these.delay_s(UNAVAILABLE)


def test_nothing_else_is_tried_again():
    these, _ = attempts()
    with pytest.raises(DeadlineExceededError):
        these.delay_s(Failed(grpc.StatusCode.DEADLINE_EXCEEDED))


def test_a_later_step_of_a_sequence_is_never_done_twice():
    these, _ = attempts(messages.infer("m", {}, sequence=messages.SequenceStep(1)))
    with pytest.raises(ServerUnavailableError):
        these.delay_s(UNAVAILABLE)
    first, _ = attempts(messages.infer("m", {}, sequence=messages.SequenceStep(1, start=True)))
    assert first.delay_s(UNAVAILABLE) >= 0
