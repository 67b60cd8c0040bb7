"""The Helm chart, rendered by Helm's own engine, against the schemas of the oldest and the newest Kubernetes."""

from __future__ import annotations

import pytest
from deploy_tools import ALERTS, CHART, COMPOSE, DASHBOARD, DEPLOY, container, load, one, options, restriction

from neurips16.serving.triton.admin_token import HEADER, PROTOCOLS

KUBERNETES = ("1.27", "1.37")  # Chart.yaml's kubeVersion, and the newest
ALL_ON = {
    "autoscaling": {"enabled": True},
    "monitoring": {"podMonitor": True, "prometheusRule": True, "dashboard": True, "labels": {"release": "prometheus"}},
}
VALUES = {
    "default": {},
    "all on": ALL_ON,
    "on CPUs, baked, plain": {"gpu": {"count": 0}, "tls": {"insecurePlaintext": True}},
    "models on a volume": {
        "models": {"volume": {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}}},
        "service": {"headless": True, "annotations": {"a": "b"}},
        "server": {"connectionAgeSeconds": 0, "extraArguments": ["--log-verbose=1"]},
        "serviceAccount": {"create": False},
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "nodeSelector": {"e": "f"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "serving",
        "runtimeClassName": "nvidia",
        "networkPolicy": {"monitoring": [], "egress": [{"ports": [{"port": 443}]}]},
    },
    "nothing optional": {
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "spreadOver": "",
    },
}
CUSTOM = {"PodMonitor", "PrometheusRule"}  # of the Prometheus operator: Kubernetes itself has no schema of them


def test_helm_has_nothing_to_say():
    helm = pytest.importorskip("helm_python", reason="Helm's engine comes with pip: neurips16[deploy]")
    report = helm.lint(CHART, strict=True, kube_version=f"v{KUBERNETES[0]}.0")
    assert report["errors"] == []
    assert {message["error"] for message in report["messages"]} <= {"icon is recommended"}


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_the_manifests_are_of_the_schema(render, values, version):
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="comes with pip: neurips16[deploy]")
    manifests = render(**values)
    assert len(manifests) >= 2
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_the_oldest_is_the_charts():
    assert load(CHART / "Chart.yaml")["kubeVersion"] == f">={KUBERNETES[0]}.0-0"


@pytest.mark.parametrize(
    "values",
    [
        {"tls": {"secretname": "a"}},
        {"image": {"tag": "1"}},
        {"image": {"digest": ""}},
        {"image": {"digest": "sha256:1"}},
        {"resources": {"limits": {"memory": None}}},
        {"tls": {"secretName": ""}},
        {"server": {"extraArguments": ["log-verbose"]}},
        {"replicas": 3},
    ],
    ids=str,
)
def test_values_that_are_wrong_are_refused(render, values):
    import helm_python

    with pytest.raises(helm_python.HelmError):
        render(**values)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_the_pod_can_do_no_more_than_it_must(render, values):
    manifests = render(**values)
    pod = one(manifests, "Deployment")["spec"]["template"]["spec"]
    triton = container(manifests)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert triton["securityContext"]["readOnlyRootFilesystem"]
    assert not triton["securityContext"]["allowPrivilegeEscalation"]
    assert triton["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert triton["resources"]["limits"]["memory"]
    assert {mount["name"] for mount in triton["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    (memory,) = [volume["emptyDir"] for volume in pod["volumes"] if volume["name"] == "shm"]
    assert memory["medium"] == "Memory"
    assert memory["sizeLimit"]


def test_a_pod_ends_in_order(render):
    manifests = render(server={"exitTimeoutSeconds": 100, "drainSeconds": 7})
    pod = one(manifests, "Deployment")["spec"]["template"]["spec"]
    triton = container(manifests)
    assert options(triton["args"])["exit-timeout-secs"] == "100"
    assert triton["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "7"]
    assert pod["terminationGracePeriodSeconds"] > 100 + 7


def test_probes_ask_triton(render):
    triton = container(render(probes={"startupSeconds": 900}))
    ports = {port["name"]: port["containerPort"] for port in triton["ports"]}
    given = options(triton["args"])
    assert {name: str(port) for name, port in ports.items()} == {name: given[f"{name}-port"] for name in ports}
    paths = {name: triton[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {get["port"] for get in paths.values()} == {"http"}
    assert paths["readinessProbe"]["path"] == paths["startupProbe"]["path"] == "/v2/health/ready"
    assert paths["livenessProbe"]["path"] == "/v2/health/live"
    assert triton["startupProbe"]["periodSeconds"] * triton["startupProbe"]["failureThreshold"] == 900


def test_selectors_find_the_pods(render):
    manifests = render(**ALL_ON)
    template = one(manifests, "Deployment")["spec"]["template"]
    selectors = [
        one(manifests, "Deployment")["spec"]["selector"]["matchLabels"],
        one(manifests, "Service")["spec"]["selector"],
        one(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        one(manifests, "PodMonitor")["spec"]["selector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector == selectors[0]
        assert selector.items() <= template["metadata"]["labels"].items()
    assert one(manifests, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "demo-neurips16"
    assert one(manifests, "ServiceAccount")["metadata"]["name"] == template["spec"]["serviceAccountName"]
    names = {port["name"] for port in container(manifests)["ports"]}
    assert one(manifests, "Service")["spec"]["ports"][0]["targetPort"] in names
    assert one(manifests, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"] in names


def test_the_autoscaler_and_not_the_deployment_says_how_many(render):
    assert one(render(replicaCount=3), "Deployment")["spec"]["replicas"] == 3
    manifests = render(**ALL_ON)
    assert "replicas" not in one(manifests, "Deployment")["spec"]
    (metric,) = one(manifests, "HorizontalPodAutoscaler")["spec"]["metrics"]
    (rule,) = load(DEPLOY / "helm/prometheus-adapter.yaml")["rules"]["custom"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]


def test_the_network_lets_in_clients_and_prometheus_only(render):
    policy = one(render(), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["ingress"]] == [["grpc"], ["metrics"]]
    assert all(rule["from"] for rule in policy["ingress"])
    assert policy["egress"] == []
    assert [port["name"] for port in one(render(), "Service")["spec"]["ports"]] == ["grpc"]


def test_rules_and_dashboard_are_the_files(render):
    manifests = render(**ALL_ON)
    assert one(manifests, "PrometheusRule")["spec"] == load(ALERTS)
    (text,) = one(manifests, "ConfigMap")["data"].values()
    assert text == DASHBOARD.read_text().rstrip("\n")


def test_the_image_is_named_by_its_digest(render):
    image = {"repository": "r/n", "digest": f"sha256:{'a' * 64}"}
    assert container(render(image=image))["image"] == f"r/n@{image['digest']}"


def command_lines() -> dict[str, list[str]]:
    return {
        "compose": load(COMPOSE)["services"]["triton"]["command"],
        "kserve": load(DEPLOY / "kserve/runtime.yaml")["spec"]["containers"][0]["args"],
    }


@pytest.mark.parametrize("where", ["chart", "compose", "kserve"])
def test_beyond_loopback_there_is_tls_and_an_admin_token(render, where):
    given = options(container(render())["args"] if where == "chart" else command_lines()[where])
    assert given["grpc-use-ssl"] == given["grpc-use-ssl-mutual"] == "true"
    assert given["grpc-server-cert"].endswith("/tls.crt")
    assert given["grpc-server-key"].endswith("/tls.key")
    assert given["grpc-root-cert"].endswith("/ca.crt")
    assert restriction(given["grpc-restricted-protocol"]) == (set(PROTOCOLS), HEADER)
    everything_but_health = {*PROTOCOLS, "metadata", "inference", "model-config", "statistics"}
    assert restriction(given["http-restricted-api"]) == (everything_but_health, HEADER)
    assert given["metrics-config"] == "summary_latencies=true"


@pytest.mark.parametrize("where", ["chart", "compose", "kserve"])
def test_onnxruntime_has_as_many_threads_as_the_container_has_cpus(render, where):
    given = options(container(render())["args"] if where == "chart" else command_lines()[where])
    limits = {
        "chart": container(render())["resources"]["limits"]["cpu"],
        "compose": load(COMPOSE)["services"]["triton"]["deploy"]["resources"]["limits"]["cpus"],
        "kserve": load(DEPLOY / "kserve/runtime.yaml")["spec"]["containers"][0]["resources"]["limits"]["cpu"],
    }
    assert given["backend-config=onnxruntime,enable-global-threadpool"] == "1"
    assert given["backend-config=onnxruntime,intra_op_thread_count"] == limits[where]


def test_plaintext_has_to_be_asked_for(render):
    given = options(container(render(tls={"insecurePlaintext": True}))["args"])
    assert not [name for name in given if name.startswith("grpc-use-ssl")]
    given = options(container(render(tls={"mutual": False}))["args"])
    assert (given["grpc-use-ssl"], given["grpc-use-ssl-mutual"]) == ("true", "false")
