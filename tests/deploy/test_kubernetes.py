"""Manifests, as Kustomize puts them together, against Kubernetes' own schemas; all offline."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from service.server import WRITE_OUT_S
from tests.deploy.metric_names import known_metrics
from tests.deploy.promql import selectors
from tests.deploy.service_options import HEALTH_ROUTES, given_options

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "k8s"
SCHEMAS = Path(__file__).parent / "crd_schemas"
# The oldest that still gets fixes and the newest that the validator knows.
VERSIONS = ("1.33.0", kubernetes_validate.latest_version())
OVERLAYS = {
    "base": {"Deployment", "Service", "PodDisruptionBudget"},
    "overlays/monitoring": {"Deployment", "Service", "PodDisruptionBudget", "ServiceMonitor"},
    "overlays/keda": {"Deployment", "Service", "PodDisruptionBudget", "ServiceMonitor", "ScaledObject"},
}
WHOLE = sorted(path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml")


def complaints(resource: dict[str, Any], version: str) -> list[str]:
    """Return what the schema of a resource says against it."""
    own = SCHEMAS / f"{resource['kind']}.json"
    if own.is_file():
        validator = jsonschema_rs.validator_for(json.loads(own.read_text(encoding="utf-8")))
        return [error.message for error in validator.iter_errors(resource)]
    try:
        kubernetes_validate.validate(resource, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [str(error.message)]
    return []


def build(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the resources of an overlay by kind."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl: overlays are not put together here, their files are checked one by one")
    command = ["kubectl", "kustomize", str(folder)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return {resource["kind"]: resource for resource in yaml.safe_load_all(result.stdout)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", WHOLE, ids=[path.stem for path in WHOLE])
def test_a_manifest_is_valid(path: Path, version: str) -> None:
    assert complaints(yaml.safe_load(path.read_text(encoding="utf-8")), version) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_valid_and_complete(overlay: str) -> None:
    resources = build(FOLDER / overlay)
    assert resources.keys() == OVERLAYS[overlay]
    for resource in resources.values():
        assert complaints(resource, VERSIONS[-1]) == []
    image = resources["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["service"]["image"]


def test_a_gpu_comes_on_top_of_an_overlay(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "k8s")
    mine = tmp_path / "k8s" / "overlays" / "mine"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text("resources: [../keda]\ncomponents: [../../components/gpu]\n")
    deployment = build(mine)["Deployment"]
    assert complaints(deployment, VERSIONS[-1]) == []
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert given_options(container["args"])["device"] == "cuda"
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_keda_alone_says_how_many_replicas_there_are() -> None:
    resources = build(FOLDER / "overlays" / "keda")
    assert "replicas" not in resources["Deployment"]["spec"]
    scaled = resources["ScaledObject"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == resources["Deployment"]["metadata"]["name"]
    assert scaled["fallback"]["replicas"] == scaled["minReplicaCount"]


def manifest(name: str) -> dict[str, Any]:
    (path,) = FOLDER.rglob(f"{name}.yaml")
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("deployment", lambda m: m["spec"]["template"]["spec"]["containers"][0].update(livenesProbe={})),
        ("deployment", lambda m: m["spec"].update(replicas="two")),
        ("service", lambda m: m["spec"].update(slector={})),
        ("disruption-budget", lambda m: m["spec"].update(maxUnavailble=1)),
        ("service-monitor", lambda m: m["spec"]["endpoints"][0].update(intervall="15s")),
        ("service-monitor", lambda m: m["spec"]["endpoints"][0].update(interval=15)),
        ("scaled-object", lambda m: m["spec"]["triggers"][0]["metadata"].update(treshold="1")),
        ("scaled-object", lambda m: m["spec"]["triggers"][0]["metadata"].update(threshold=0.25)),
        ("scaled-object", lambda m: m["spec"].update(minReplicas=2)),
    ],
)
def test_a_spoilt_manifest_is_found_out(name: str, spoil: Any) -> None:
    resource = manifest(name)
    assert complaints(resource, VERSIONS[-1]) == []
    spoil(resource)
    assert len(complaints(resource, VERSIONS[-1])) == 1


def test_the_pod_may_do_nothing_that_it_need_not() -> None:
    pod = manifest("deployment")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False  # a Service named xlmr would set XLMR_PORT, a setting here
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    assert all(mount["readOnly"] for mount in container["volumeMounts"] if mount["name"] != "tmp")


def test_probes_ask_where_the_service_answers() -> None:
    (container,) = manifest("deployment")["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert given_options(container["args"])["port"] == str(port["containerPort"])
    asked = {container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
    assert asked == HEALTH_ROUTES
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} == {
        port["name"]
    }
    assert manifest("service")["spec"]["ports"][0]["targetPort"] == port["name"]


def test_draining_fits_into_the_grace_period() -> None:
    pod = manifest("deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    seconds = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    (drain,) = (entry["value"] for entry in container["env"] if entry["name"] == "XLMR_DRAIN_TIMEOUT_S")
    assert seconds + float(drain) + WRITE_OUT_S < pod["terminationGracePeriodSeconds"]
    # By then the readiness probe has failed, too.
    assert seconds >= container["readinessProbe"]["periodSeconds"]


def test_everything_selects_the_same_pods() -> None:
    labels = manifest("deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifest("deployment")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("service")["spec"]["selector"] == labels
    assert manifest("disruption-budget")["spec"]["selector"]["matchLabels"] == labels
    assert (
        manifest("service-monitor")["spec"]["selector"]["matchLabels"]
        == manifest("service")["metadata"]["labels"]
    )
    assert (
        manifest("service-monitor")["spec"]["endpoints"][0]["port"]
        == manifest("service")["spec"]["ports"][0]["name"]
    )


def test_keda_asks_for_metrics_that_the_service_has() -> None:
    # The job of scraped series is the Service's name where a monitor says nothing else.
    job = manifest("service")["metadata"]["name"]
    assert job == "xlmr-serve"
    for trigger in manifest("scaled-object")["spec"]["triggers"]:
        for selector in selectors(trigger["metadata"]["query"]):
            assert selector.name in known_metrics()
            assert selector.matchers == {"job": job}
