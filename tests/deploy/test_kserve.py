"""The KServe manifests: what of them Kubernetes has a schema of, and that the two belong together."""

from __future__ import annotations

import pytest
from deploy_tools import DEPLOY, load, options

RUNTIME = load(DEPLOY / "kserve/runtime.yaml")
SERVICE = load(DEPLOY / "kserve/inference-service.yaml")
PREDICTOR = SERVICE["spec"]["predictor"]
(CONTAINER,) = RUNTIME["spec"]["containers"]


def test_the_pod_that_they_make_is_of_the_schema():
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="comes with pip: neurips16[deploy]")
    of_the_pod = {k: v for k, v in PREDICTOR.items() if k not in ("model", "minReplicas")}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "annotations": RUNTIME["spec"]["annotations"]},
        "spec": {**of_the_pod, "containers": [CONTAINER], "volumes": RUNTIME["spec"]["volumes"]},
    }
    kubernetes_validate.validate(pod, "1.37", strict=True)


def test_the_service_asks_for_what_the_runtime_offers():
    model = PREDICTOR["model"]
    assert model["runtime"] == RUNTIME["metadata"]["name"]
    assert model["modelFormat"] in RUNTIME["spec"]["supportedModelFormats"]
    assert model["protocolVersion"] in RUNTIME["spec"]["protocolVersions"]
    assert CONTAINER["name"] == "kserve-container"
    given = options(CONTAINER["args"])
    assert given["model-repository"] == "/mnt/models"  # where KServe puts what storageUri names
    assert [port["containerPort"] for port in CONTAINER["ports"]] == [int(given["grpc-port"])]
    assert {CONTAINER[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")} == {
        int(given["http-port"])
    }
    assert RUNTIME["spec"]["annotations"]["prometheus.kserve.io/port"] == given["metrics-port"]


def test_a_pod_ends_in_order():
    pause = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert PREDICTOR["terminationGracePeriodSeconds"] > pause + int(options(CONTAINER["args"])["exit-timeout-secs"])
