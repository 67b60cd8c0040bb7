"""The compose file: read by a parser of the specification, and closed where it should be."""

from __future__ import annotations

import re

import pytest
import yaml
from deploy_tools import COMPOSE, DEPLOY, load, options

FOLDER = DEPLOY / "compose"
SERVICES = load(COMPOSE)["services"]


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_a_parser_of_the_specification_takes_it(name):
    compose_spec = pytest.importorskip("compose_spec", reason="comes with pip: neurips16[deploy]")
    # It knows no variables, so each stands as its default; and no tag beside a digest, which Docker passes over.
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (FOLDER / name).read_text())
    text = re.sub(r"(image: [\w/]+):[\w.]+@", r"\1@", text)
    compose = compose_spec.PyCompose.from_yaml(re.sub(r"\$\{\w+:\?\}", "given", text))
    compose.validate()
    with pytest.raises(ValueError, match="imag"):
        compose_spec.PyCompose.from_yaml("services: {a: {imag: b}}")


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_a_service_can_do_no_more_than_it_must(service):
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["logging"]["options"]["max-size"]
    assert re.search(r":v?\d+\.\d+\.\d+", service["image"])


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_only_loopback_is_published(service):
    for port in service["ports"]:
        assert re.match(r"127\.0\.0\.1:|\$\{NEURIPS16_BIND:-127\.0\.0\.1\}:8001:", port)


def test_metrics_and_http_do_not_leave():
    assert load(COMPOSE)["networks"]["monitoring"]["internal"]
    given = options(SERVICES["triton"]["command"])
    assert given["http-address"] == "127.0.0.1"
    grace = int(SERVICES["triton"]["stop_grace_period"].removesuffix("s"))
    assert grace > int(given["exit-timeout-secs"])


def test_what_is_mounted_is_here():
    mounts = [volume for service in SERVICES.values() for volume in service["volumes"] if volume["type"] == "bind"]
    sources = [re.sub(r"\$\{\w+:-(.*)\}", r"\1", mount["source"]) for mount in mounts]
    assert len(sources) == 5
    for source in sources:
        assert (FOLDER / source).exists(), source
    assert all(mount["read_only"] for mount in mounts)


def test_grafana_finds_its_data_source_and_its_dashboard():
    (source,) = load(FOLDER / "grafana/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = load(FOLDER / "grafana/dashboards/neurips16.yaml")["providers"]
    targets = [volume["target"] for volume in SERVICES["grafana"]["volumes"]]
    assert any(target.startswith(f"{provider['options']['path']}/") for target in targets)
    (scrape,) = load(FOLDER / "prometheus.yml")["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": ["triton:8002"]}]
    assert yaml.safe_load((FOLDER / "prometheus.yml").read_text())["rule_files"] == ["alerts.yaml"]
