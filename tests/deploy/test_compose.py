"""docker-compose.yml: by the specification, hardened, and the same service on a CPU and on a GPU."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploy.service_options import given_options

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "docker-compose.yml"
FILE: dict[str, Any] = yaml.safe_load(MAIN.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OUR_UID = "10001:10001"
# What one service may do that the others may not, and why.
EXCEPTIONS = {
    ("dcgm-exporter", "user"): "profiling counters are for root",
    ("dcgm-exporter", "read_only"): "its host engine writes beside itself",
    ("dcgm-exporter", "cap_add"): "profiling counters want SYS_ADMIN",
}
EACH = pytest.mark.parametrize("name", SERVICES)


def check(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("check-jsonschema"))]
    command += ["--builtin-schema", "vendor.compose-spec", *map(str, files)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


def test_the_file_keeps_the_compose_specification() -> None:
    result = check(MAIN)
    assert result.returncode == 0, result.stdout


def test_a_misspelt_key_is_found_out(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(MAIN.read_text().replace("healthcheck:", "healtcheck:", 1))
    assert check(wrong).returncode != 0


def faults(name: str, service: dict[str, Any], *, excused: bool = True) -> list[str]:
    """Return what is not hardened about a service."""
    image = service["image"]
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    rules = {
        "tag": re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", image) is not None,
        "healthcheck": {"test", "interval", "timeout", "retries"} <= service.get("healthcheck", {}).keys(),
        "user": re.fullmatch(r"[1-9]\d*:\d+", service.get("user", "")) is not None,
        "read_only": service.get("read_only") is True,
        "cap_drop": service.get("cap_drop") == ["ALL"],
        "cap_add": not service.get("cap_add"),
        "no-new-privileges": "no-new-privileges:true" in service.get("security_opt", ()),
        "privileged": not service.get("privileged"),
        "limits": {"cpus", "memory"} <= limits.keys(),
        "logs": "max-size" in service.get("logging", {}).get("options", {}),
        "ports": all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ())),
    }
    return [rule for rule, kept in rules.items() if not kept and not (excused and (name, rule) in EXCEPTIONS)]


@EACH
def test_a_service_is_hardened(name: str) -> None:
    assert faults(name, SERVICES[name]) == []


SPOILT: dict[str, Callable[[dict[str, Any]], object]] = {
    "tag": lambda s: s.update(image="prom/prometheus:latest"),
    "healthcheck": lambda s: s.pop("healthcheck"),
    "user": lambda s: s.update(user="0:0"),
    "read_only": lambda s: s.pop("read_only"),
    "cap_drop": lambda s: s.pop("cap_drop"),
    "cap_add": lambda s: s.update(cap_add=["NET_ADMIN"]),
    "no-new-privileges": lambda s: s.pop("security_opt"),
    "privileged": lambda s: s.update(privileged=True),
    "limits": lambda s: s["deploy"]["resources"]["limits"].pop("memory"),
    "logs": lambda s: s.pop("logging"),
    "ports": lambda s: s.update(ports=["9090:9090"]),
}


@pytest.mark.parametrize("rule", SPOILT)
def test_a_service_that_is_not_hardened_is_found_out(rule: str) -> None:
    service = deepcopy(SERVICES["prometheus"])
    SPOILT[rule](service)
    assert faults("prometheus", service) == [rule]


def test_exceptions_are_still_needed() -> None:
    for name, rule in EXCEPTIONS:
        assert rule in faults(name, SERVICES[name], excused=False)


def active(*profiles: str) -> set[str]:
    """Return the services that these profiles start; those without a profile always start."""
    return {
        name
        for name, service in SERVICES.items()
        if not service.get("profiles") or set(service["profiles"]) & set(profiles)
    }


def default_profiles() -> list[str]:
    """Return what `.env` makes active where no profile is named."""
    lines = (ROOT / ".env").read_text(encoding="utf-8").splitlines()
    ((name, _, profiles),) = [line.partition("=") for line in lines if not line.startswith("#")]
    assert name == "COMPOSE_PROFILES"
    return profiles.split(",")


def test_up_starts_the_service_on_a_cpu_prometheus_and_grafana() -> None:
    assert active(*default_profiles()) == {"service", "prometheus", "grafana"}


def test_the_gpu_profile_starts_the_same_with_the_service_on_a_gpu() -> None:
    assert active("gpu") == {"service-gpu", "prometheus", "grafana"}
    assert active("load") & {"service", "service-gpu"} == set()


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_no_two_services_want_one_port_on_either_device(device: str) -> None:
    others = {profile for service in SERVICES.values() for profile in service.get("profiles", ())}
    started = active(*(others - {"cpu", "gpu"}), device)
    ports = [port for name in started for port in SERVICES[name].get("ports", ())]
    outside = [port.split(":")[1] for port in ports]
    assert len(outside) == len(set(outside))


def test_the_service_on_a_gpu_differs_in_its_device_alone() -> None:
    cpu, gpu = SERVICES["service"], SERVICES["service-gpu"]
    own = {"profiles", "command", "deploy", "networks"}
    assert {key: value for key, value in cpu.items() if key not in own} == {
        key: value for key, value in gpu.items() if key not in own
    }
    assert given_options(cpu["command"]) | {"device": "cuda"} == given_options(gpu["command"])
    assert given_options(cpu["command"])["device"] == "cpu"
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    # Prometheus and Locust find it under the same name.
    assert gpu["networks"] == {"default": {"aliases": ["service"]}}


def test_what_waits_for_the_service_waits_for_whichever_there_is() -> None:
    """A dependency outside the active profiles is an error unless it is not required."""
    waiting = SERVICES["locust-master"]["depends_on"]
    assert waiting.keys() == {"service", "service-gpu"}
    assert all(one == {"condition": "service_healthy", "required": False} for one in waiting.values())


def test_data_lives_in_named_volumes_and_the_rest_is_read_only() -> None:
    used = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            if isinstance(volume, dict):
                assert volume["type"] == "bind"
                assert volume["read_only"] is True
                # Docker would make an empty folder for root, and the service would find nothing in it.
                assert volume["bind"] == {"create_host_path": False}
            elif volume.startswith("./"):
                assert volume.endswith(":ro")
                assert (ROOT / volume.split(":")[0]).exists()
            else:
                used.add(volume.split(":")[0])
    assert used == FILE["volumes"].keys()


def test_prometheus_scrapes_names_and_ports_that_are_there() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    for job in config["scrape_configs"]:
        static = [target for entry in job.get("static_configs", ()) for target in entry["targets"]]
        named = [name for entry in job.get("dns_sd_configs", ()) for name in entry["names"]]
        hosts = {target.split(":")[0] for target in static} | set(named)
        assert hosts <= SERVICES.keys() | {"localhost"}, job["job_name"]
        for target in static:
            host, port = target.split(":")
            if host != "localhost":
                assert given_options(SERVICES[host]["command"])["port"] == port


def test_draining_fits_into_the_grace_period() -> None:
    from service.server import WRITE_OUT_S  # noqa: PLC0415 - only here
    from service.settings import Settings  # noqa: PLC0415 - only here

    grace_s = int(SERVICES["service"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > Settings.model_fields["drain_timeout_s"].default + WRITE_OUT_S


LOCUST_PARSER = """
import json, sys
from locust.argument_parser import get_parser
import loadtest.driver.locustfile
parsed = get_parser().parse_args(json.loads(sys.argv[1]))
names = ("master", "worker", "host", "trace", "out", "metrics_port", "metrics_host")
print(json.dumps({name: getattr(parsed, name) for name in names}))
"""


def scrape_port(host: str) -> int:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    found = [entry for job in config["scrape_configs"] for entry in job.get("dns_sd_configs", ())]
    (port,) = (entry["port"] for entry in found if host in entry["names"])
    return int(port)


@pytest.mark.parametrize("name", ["locust-master", "locust-worker"])
def test_locust_understands_its_command(name: str) -> None:
    command = [sys.executable, "-c", LOCUST_PARSER, json.dumps(SERVICES[name]["command"])]
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert result.returncode == 0, result.stderr
    parsed = json.loads(result.stdout)
    assert parsed["trace"] == "/trace"
    assert (parsed["master"], parsed["worker"]) == (name == "locust-master", name == "locust-worker")
    if parsed["master"]:
        assert parsed["host"] == "http://service:8000"
        assert parsed["out"].startswith("/runs/")
        assert parsed["metrics_host"] == "0.0.0.0"  # noqa: S104 - inside a network of its own
        assert parsed["metrics_port"] == scrape_port(name)
        workers = SERVICES["locust-worker"]["deploy"]["replicas"]
        assert f"--expect-workers={workers}" in SERVICES[name]["command"]
