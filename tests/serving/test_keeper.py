"""What becomes of a server that ends, again and again."""

from __future__ import annotations

import pytest

from neurips16.serving.errors import PortTakenError
from neurips16.serving.triton import keeper as keeper_module
from neurips16.serving.triton.in_flight import Activity
from neurips16.serving.triton.keeper import LONGEST_DELAY_S, MAX_FAILED_STARTS, ServerKeeper, delay
from neurips16.serving.triton.loaded_models import LoadedModel
from neurips16.serving.triton.run_folder import RunFolder


class Ending:
    """A server that ends by itself ``ends`` times, and of whose later starts ``fails`` fail."""

    def __init__(self, ends: int, fails: int, culprit: str):
        self.models = {"m", "bad"}
        self.replaced: list[set[str]] = []
        self._ends, self._fails, self._culprit = ends, fails, culprit
        self.folder: RunFolder | None = None

    def ended(self) -> tuple[str, list[Activity]] | None:
        if self._ends == 0:
            return None
        activities = [Activity(self._culprit, "1", "'x' [1]", True)] if self._culprit else []
        return "Triton ended by itself with status -6", activities

    def loaded_models(self):
        return {name: LoadedModel(name, {}, None, noted=False) for name in ("m", "bad")}

    def replace(self, loaded, without) -> None:
        if self._fails:
            self._fails -= 1
            raise PortTakenError("somebody has the port")
        self._ends -= 1
        self.folder.renew()
        self.models = loaded.keys() - without.keys()
        self.replaced.append(self.models)


@pytest.fixture
def keep(monkeypatch, tmp_path):
    """Keeps an `Ending`; the keeper, the server, and the waits that there were."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))

    def run(ends: int, fails: int = 0, culprit: str = "") -> tuple[ServerKeeper, Ending, list[float]]:
        server, waits = Ending(ends, fails, culprit), []
        server.folder = RunFolder.create()
        keeper = ServerKeeper(server, server.folder)
        keeper._ask()

        def wait(seconds: float) -> bool:
            if seconds != keeper_module.LOOK_S:
                waits.append(seconds)
            return seconds == keeper_module.LOOK_S and server.ended() is None

        monkeypatch.setattr(keeper._stopped, "wait", wait)
        keeper._run()
        server.folder.remove()
        return keeper, server, waits

    return run


def test_a_server_that_ends_is_started_again_ever_later_and_for_ever(keep):
    keeper, server, waits = keep(ends=100)
    assert keeper.restarts == 100
    assert server.replaced[-1] == {"m", "bad"}
    assert waits[:5] == [0, 1, 2, 4, 8]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_DELAY_S == max(waits)


def test_a_model_that_ended_it_three_times_is_left_out(keep):
    _, server, _ = keep(ends=4, culprit="bad")
    assert server.replaced == [{"m", "bad"}, {"m", "bad"}, {"m"}, {"m"}]


def test_one_in_quarantine_that_was_loaded_and_crashes_at_once_counts_from_the_beginning(keep, monkeypatch):
    records = iter([{}, {}, {}, {"bad": LoadedModel("bad", {}, None)}])  # of the server that ended, each time
    monkeypatch.setattr(ServerKeeper, "_take_records", lambda self: next(records))
    keeper, server, _ = keep(ends=4, culprit="bad")
    assert server.replaced == [{"m", "bad"}, {"m", "bad"}, {"m"}, {"m", "bad"}]
    assert not keeper.quarantine.models


def test_a_start_that_fails_is_tried_again(keep):
    keeper, _, _ = keep(ends=1, fails=MAX_FAILED_STARTS - 1)
    assert (keeper.restarts, keeper.failure) == (1, None)


def test_but_not_for_ever(keep):
    keeper, _, _ = keep(ends=1, fails=MAX_FAILED_STARTS)
    assert keeper.restarts == 0
    assert keeper.failure == "somebody has the port; given up after 10 starts that failed"


def test_delays_are_bounded():
    assert delay(10**6) == LONGEST_DELAY_S
