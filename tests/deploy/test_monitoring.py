"""The alerts and the dashboard, against a real Prometheus that scrapes a real Triton."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
import yaml
from deploy_tools import ALERTS, DASHBOARD, DEPLOY, MODEL, find_program, free_port, load, one

HOW = "deploy/prometheus.sh .venv fetches it"
PANELS = json.loads(DASHBOARD.read_text())["panels"]
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel.get("targets", [])
}
RULES = load(ALERTS)["groups"][0]["rules"]
(ADAPTER,) = load(DEPLOY / "helm/prometheus-adapter.yaml")["rules"]["custom"]
ALERT_TESTS = DEPLOY.parent / "tests/deploy/alerts.test.yaml"
METRIC = re.compile(r"\bnv_\w+")
# These names are put together as the library runs, so they are not in its text; the server's metrics.md has them.
GPU_METRICS_OF_THE_DOCUMENTATION = {"nv_gpu_memory_used_bytes", "nv_gpu_power_usage"}


def test_promtool_takes_the_alerts():
    promtool = find_program("promtool", HOW)
    done = subprocess.run([promtool, "check", "rules", ALERTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


def test_promtool_takes_the_charts_rule(render, tmp_path):
    promtool = find_program("promtool", HOW)
    rule = one(render(monitoring={"prometheusRule": True}), "PrometheusRule")
    (tmp_path / "rule.yaml").write_text(yaml.safe_dump(rule["spec"]))
    subprocess.run([promtool, "check", "rules", tmp_path / "rule.yaml"], capture_output=True, check=True)


def test_alerts_fire_when_they_should():
    promtool = find_program("promtool", HOW)
    done = subprocess.run([promtool, "test", "rules", ALERT_TESTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested():
    cases = [case for test in load(ALERT_TESTS)["tests"] for case in test["alert_rule_test"]]
    fires = {case["alertname"] for case in cases if case["exp_alerts"]}
    silent = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert fires == silent == {rule["alert"] for rule in RULES}


def test_alerts_say_whom_to_wake_and_what_to_do():
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_promtool_takes_the_configuration(tmp_path):
    promtool = find_program("promtool", HOW)
    (tmp_path / "alerts.yaml").write_text(ALERTS.read_text())
    (tmp_path / "prometheus.yml").write_text((DEPLOY / "compose/prometheus.yml").read_text())
    done = subprocess.run([promtool, "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_dashboard_is_in_order():
    board = json.loads(DASHBOARD.read_text())
    assert len({panel["id"] for panel in PANELS}) == len({panel["title"] for panel in PANELS}) == len(PANELS)
    names = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text()))
    assert used - {"__rate_interval", "__all"} == names
    places = [panel["gridPos"] for panel in PANELS]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(p["x"] + p["w"] for p in places) == 24
    for panel in PANELS:
        assert panel["type"] == "row" or panel["fieldConfig"]["defaults"]["unit"]


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str):
        self.url = url

    def get(self, path: str, **parameters: str) -> dict:
        """What the API answers, an error included."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}") as answer:
            return json.load(answer)["data"]

    def values(self, query: str) -> list[float]:
        """The values that a query has now, those that are no number left out."""
        values = [float(entry["value"][1]) for entry in self.get("query", query=query)["result"]]
        return [value for value in values if value == value]

    def wait_for(self, query: str, timeout_s: float = 30.0) -> None:
        """Wait until a query has a value above zero."""
        deadline = time.monotonic() + timeout_s
        while not any(value > 0 for value in self.values(query)):
            assert time.monotonic() < deadline, f"{query} has no value above zero"
            time.sleep(0.3)


@pytest.fixture(scope="module")
def prometheus(triton, certificates, tmp_path_factory) -> Iterator[Prometheus]:
    """Prometheus with compose's own configuration, but that it looks every half second, after some traffic."""
    import tritonclient.grpc as grpc_client

    program = find_program("prometheus", HOW)
    folder = tmp_path_factory.mktemp("prometheus")
    config = load(DEPLOY / "compose/prometheus.yml")
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    # The labels that a PodMonitor adds.
    target = {"targets": [triton.metrics], "labels": {"namespace": "models", "pod": "demo-0"}}
    config["scrape_configs"][0]["static_configs"] = [target]
    (folder / "alerts.yaml").write_text(ALERTS.read_text())
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    running = Prometheus(f"http://{address}")
    try:
        deadline = time.monotonic() + 60
        while not _ready(running):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.2)
        running.wait_for("up")  # before the traffic: a rate is made of two scrapes
        words = np.arange(1, 9, dtype=np.int64)[None].repeat(2, 0)
        given = grpc_client.InferInput("words", words.shape, "INT64")
        given.set_data_from_numpy(words)
        with grpc_client.InferenceServerClient(
            triton.grpc,
            ssl=True,
            root_certificates=str(certificates / "ca.crt"),
            private_key=str(certificates / "client.key"),
            certificate_chain=str(certificates / "client.crt"),
        ) as client:
            for _ in range(6):
                client.infer(MODEL, [given], client_timeout=60)
        # A scrape amid the traffic may find a request in one counter and not yet in another.
        settled = " and ".join(
            f"changes({name}[2s]) == 0" for name in ("nv_inference_count", "nv_inference_exec_count")
        )
        running.wait_for(f"rate(nv_inference_exec_count[1m]) and {settled}")
        running.wait_for("nv_inference_request_summary_us")
        yield running
    finally:
        process.terminate()
        process.wait(30)


def _ready(running: Prometheus) -> bool:
    try:
        with urllib.request.urlopen(f"{running.url}/-/ready") as answer:
            return answer.status == 200
    except OSError:
        return False


def fill_in(query: str) -> str:
    """A query of the dashboard as Grafana sends it."""
    return query.replace("$__rate_interval", "1m").replace("$model", ".*")


@pytest.mark.triton
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_panel_shows_what_was_there(prometheus, query):
    values = prometheus.values(fill_in(query))  # a query that Prometheus does not take is an HTTP error
    if "nv_gpu" not in query:
        assert values
    if "nv_inference_exec_count" in query:  # the mean batch
        assert values == pytest.approx([2.0])


@pytest.mark.triton
def test_failures_that_there_were_not_are_zero(prometheus):
    (share,) = prometheus.values(fill_in(QUERIES["Share that failed A"]))
    assert share == 0


@pytest.mark.triton
def test_prometheus_evaluates_every_alert(prometheus):
    deadline = time.monotonic() + 30
    while True:
        (group,) = prometheus.get("rules")["groups"]
        if all(rule["health"] != "unknown" for rule in group["rules"]):
            break
        assert time.monotonic() < deadline, group
        time.sleep(0.3)
    assert {rule["name"]: rule["health"] for rule in group["rules"]} == {rule["alert"]: "ok" for rule in RULES}
    assert [rule["name"] for rule in group["rules"] if rule["state"] != "inactive"] == []


@pytest.mark.triton
def test_the_autoscaler_reads_the_queue_time(prometheus):
    query = ADAPTER["metricsQuery"]
    filled = {"Series": "nv_inference_queue_duration_us", "LabelMatchers": 'pod=~"demo-0"', "GroupBy": "pod"}
    for name, value in filled.items():
        query = query.replace(f"<<.{name}>>", value)
    assert "<<" not in query
    assert len(prometheus.values(query)) == 1
    assert prometheus.get("series", **{"match[]": ADAPTER["seriesQuery"]})


@pytest.mark.triton
def test_every_metric_that_is_named_is_tritons(triton):
    """Those of a GPU are not shown without one: the server's library has them in its text."""
    from neurips16.serving.triton.installation import find_triton

    named = {name for query in [*QUERIES.values(), *(rule["expr"] for rule in RULES)] for name in METRIC.findall(query)}
    with urllib.request.urlopen(f"http://{triton.metrics}/metrics") as answer:
        text = answer.read().decode()
        # Prometheus 3 refuses an answer without it.
        assert answer.headers["Content-Type"].startswith("text/plain")
    shown = set(re.findall(r"^# TYPE (\w+)", text, re.M))
    hidden = named - shown - GPU_METRICS_OF_THE_DOCUMENTATION
    (library,) = find_triton().libraries.glob("libtritonserver*.so*")
    known = library.read_bytes()
    assert [name for name in hidden if not name.startswith("nv_gpu_") or name.encode() not in known] == []
