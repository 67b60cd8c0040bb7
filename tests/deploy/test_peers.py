"""`make bench-peers`: the load generator's arithmetic, the table, and one real round of our server beside the limit."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import json
import random
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/peers"
DELAY_S = 0.05
SLACK_S = 0.04  # how late an event loop may be on a machine that is busy


@pytest.fixture(scope="module")
def peers(monkeymodule):
    """Imports a module of deploy/peers."""
    monkeymodule.syspath_prepend(str(FOLDER))
    known = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - known:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == FOLDER:
            del sys.modules[name]


@pytest.fixture(scope="module")
def monkeymodule():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture
def run(peers):
    """Runs a coroutine in the load generator's own kind of loop."""
    loop = peers("load_generator").make_loop()
    yield loop.run_until_complete
    loop.close()


class OneByOne:
    """A server that takes so long for each, one after the other."""

    def __init__(self, delay_s: float):
        self._delay_s = delay_s
        self._free_at = 0.0
        self.asked = 0

    async def ask(self) -> bytes:
        now = time.perf_counter()
        self.asked += 1
        self._free_at = max(now, self._free_at) + self._delay_s
        await asyncio.sleep(self._free_at - now)
        return b"answer"


def test_latencies_count_from_when_a_request_was_due(peers, run) -> None:
    """Three at once before a server that takes them one by one: the last waits for all."""
    found = run(peers("load_generator").opened(OneByOne(DELAY_S).ask, np.array([0.0, 0.0, 0.0, 0.3])))
    want = np.array([1, 2, 3, 1]) * DELAY_S
    assert (found.latencies_s >= want - 0.002).all()
    assert (found.latencies_s <= want + SLACK_S).all()
    assert found.kept == [b"answer"] * 4


def test_a_generator_that_is_held_up_charges_the_server_for_it(peers, run) -> None:
    """The first request blocks the loop itself; the second was due meanwhile, and is not forgiven its wait."""

    async def block() -> bytes:
        time.sleep(4 * DELAY_S)
        return b""

    found = run(peers("load_generator").opened(block, np.array([0.0, DELAY_S])))
    assert found.lateness_s[1] >= 3 * DELAY_S - 0.002
    assert found.latencies_s[1] >= 7 * DELAY_S - 0.002


def test_a_closed_loop_counts_all_answers_in_all_the_time(peers, run) -> None:
    server = OneByOne(DELAY_S)
    found = run(peers("load_generator").closed(server.ask, 4, 0.3))
    assert found.answers == server.asked
    assert found.seconds >= found.answers * DELAY_S - 0.002  # also of those that were in flight at the end
    assert found.rate == pytest.approx(1 / DELAY_S, rel=0.3)
    assert 0 <= found.cpu_share < 1


def test_an_error_of_one_request_ends_a_measurement_after_all_have_ended(peers, run) -> None:
    pending = 0

    async def ask() -> bytes:
        nonlocal pending
        pending += 1
        await asyncio.sleep(0.01 * pending)
        pending -= 1
        raise ConnectionError("gone")

    for measure in (peers("load_generator").closed(ask, 3, 0.05), peers("load_generator").opened(ask, np.zeros(3))):
        with pytest.raises(ConnectionError, match="gone"):
            run(measure)
        assert pending == 0


def test_arrivals_are_as_many_as_asked_for_and_the_same_for_everybody(peers) -> None:
    arrivals = peers("load_generator").arrivals
    due = arrivals(200.0, 2.5, seed=3)
    assert len(due) == 500
    assert (np.diff(due) >= 0).all()
    assert due[0] >= 0
    assert due[-1] < 2.5
    assert np.std(np.diff(due)) == pytest.approx(1 / 200, rel=0.2)  # of a Poisson process, not of a clock
    np.testing.assert_array_equal(due, arrivals(200.0, 2.5, seed=3))
    assert len(arrivals(0.01, 1.0, seed=0)) == 1


def test_a_raw_answer_of_another_length_is_refused(peers) -> None:
    cut = peers("protocols").cut
    like = [np.arange(6, dtype=np.float32).reshape(1, 2, 3), np.array([[7]], np.int32)]
    body = b"".join(array.tobytes() for array in like)
    for got, want in zip(cut(body, like), like, strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype
    with pytest.raises(ValueError, match="27 bytes, expected 28"):
        cut(body[:-1], like)


@pytest.fixture
def found() -> dict:
    """A run as results.json has it, with a server that is left out, and a model that is not there."""

    def server(setting: str, one: list[float], sixteen: list[float], **more: list[float]) -> dict:
        return {"setting": setting, "rates": {"1": one, "4": one, "16": sixteen}, **more}

    times = {"p50_ms": [2.0, 1.0, 3.0], "p99_ms": [9.0, 8.0, 70.0]}
    servers = {
        "in process": server("batched or not", [400.0, 500.0, 600.0], [1000.0, 900.0, 1100.0], **times),
        "Other": server("no batching", [10.0, 20.0, 200.0], [40.0, 60.0, 50.0], generator_cpu_closed=[0.2], **times),
        "neurips16": server("as served", [300.0, 310.0, 320.0], [950.0, 800.0, 970.0], generator_cpu_closed=[0.95]),
    }
    return {
        "command": "python bench.py",
        "date": "2026-01-01",
        "machine": "two cores",
        "seconds": 3.0,
        "rounds": 3,
        "not_installed": {"Third": "pip does not install it: no such thing"},
        "models": {
            "m": {"title": "a model", "rate": 25.0, "servers": servers, "left_out": {"Fourth": "log\nit ended\n"}},
            "n": {"title": "another", "missing": "not in serving/models"},
        },
    }


def test_the_table_ranks_by_medians_and_names_who_is_left_out(peers, found) -> None:
    lines = peers("results").table(found).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == ["**neurips16**", "Other", "in process"]  # the limit last
    ours, other, limit = rows[2:]
    assert ours[2:7] == ["310", "310", "950", "950 (800 to 970)", "0.95"]
    assert ours[7:] == ["-", "-", "0.95 (!)"]  # the load generator took all of a core
    assert other[5:] == ["50 (40 to 60)", "0.05", "2 (1 to 3)", "9 (8 to 70)", "0.20"]
    assert limit[5:7] == ["1,000 (900 to 1,100)", "1.00"]
    text = "\n".join(lines)
    assert "Left out: Fourth: it ended" in text
    assert "Not installed: Third: pip does not install it: no such thing" in text
    assert "**another** (`n`): not in serving/models." in text


def test_a_run_is_published_between_the_marks_again_and_again(peers, found, tmp_path) -> None:
    results = peers("results")
    document = tmp_path / "docs/README.md"
    document.parent.mkdir()
    document.write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    for date in ("2026-01-01", "2026-02-02"):
        results.write({**found, "date": date}, tmp_path)
        results.publish(tmp_path, document)
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "2026-02-02" in text
    assert "2026-01-01" not in text
    assert "old" not in text
    assert (document.parent / results.PICTURE).read_bytes().startswith(b"\x89PNG")
    document.write_text("no marks")
    with pytest.raises(ValueError, match="has to have"):
        results.publish(tmp_path, document)


def test_the_document_has_the_place_for_a_run(peers) -> None:
    results = peers("results")
    text = results.DOCUMENT.read_text()
    assert text.count(results.BEGIN) == 1
    assert text.index(results.BEGIN) < text.index(results.END)


def test_peers_are_installed_in_the_versions_that_the_document_names(peers) -> None:
    servers = peers("servers")
    text = peers("results").DOCUMENT.read_text()
    ours = (ROOT / "constraints.txt").read_text().split()
    for peer in servers.PEERS:
        if peer.requirements is None:
            continue
        lines = (servers.REQUIREMENTS / peer.requirements).read_text().splitlines()
        pins = dict(line.split("==") for line in lines if not line.startswith("#"))  # each has its version
        assert f"{peer.name} {pins[peer.key]}" in text
        assert f"onnxruntime=={pins['onnxruntime']}" in ours  # the same runtime for all


def test_a_peer_that_does_not_install_is_named_with_the_reason(peers, tmp_path, monkeypatch) -> None:
    servers = peers("servers")
    monkeypatch.setattr(servers, "REQUIREMENTS", tmp_path)
    (tmp_path / "none.txt").write_text("./there-is-no-such-file.whl\n")
    peer = dataclasses.replace(servers.PEERS[-1], requirements="none.txt")
    with pytest.raises(servers.PeerError, match=r"pip does not install it: .*there-is-no-such-file"):
        servers.install(peer, tmp_path / "env")
    assert not (tmp_path / "env" / peer.key / "installed.txt").exists()


def test_who_answers_wrongly_or_not_at_all_is_not_timed(peers, run, tmp_path) -> None:
    contest, subjects = peers("contest"), peers("subjects")
    subject = subjects.tiny_mlp(tmp_path, threads=1)
    (right,) = subject.reference
    assert subject.problems([right]) == []
    assert subject.problems([right + 1e-2])
    assert subject.problems([right[:, :-1]])
    client = peers("protocols").InProcess(subject)
    client.read = lambda answer: [answer[0] + 1e-2]
    told: list[str] = []
    trial = contest.Contest(subject, asyncio.new_event_loop(), random.Random(0), told.append)
    trial._contenders["liar"] = contest.Contender(client, None, {})
    trial._guarded("liar", lambda: trial._latencies("liar", np.zeros(2)))
    trial._loop.close()
    assert "liar" not in trial._contenders
    assert "answers wrongly: scores: " in trial._left_out["liar"]


@pytest.mark.triton
def test_one_round_of_our_server_beside_the_limit(peers, tmp_path, monkeypatch) -> None:
    bench, servers = peers("bench"), peers("servers")
    monkeypatch.setattr(bench, "BUILD", tmp_path)
    found = bench.measure([servers.OURS], ["tiny_mlp"], seconds=0.2, rounds=1, share=0.3, requests=20)
    json.dumps(found)
    model = found["models"]["tiny_mlp"]
    assert model["left_out"] == {}
    assert set(model["servers"]) == {"in process", "neurips16"}
    ours = model["servers"]["neurips16"]
    assert all(len(rates) == 1 and rates[0] > 0 for rates in ours["rates"].values())
    assert 0 < ours["p50_ms"][0] <= ours["p99_ms"][0]
    assert model["rate"] == pytest.approx(0.3 * max(rates[0] for rates in ours["rates"].values()))
    peers("results").write(found, tmp_path)
