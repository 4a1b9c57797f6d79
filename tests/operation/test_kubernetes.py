"""The manifests of `server/ops/kubernetes`: valid, of one piece, and their commands and probes run."""

import base64
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import kubernetes_validate
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

import lamina
from tests.operation.deployed import KNOWN, OPS, documents, section
from tests.support.server import ServerProcess

FILES = sorted((OPS / "kubernetes").glob("*.yaml"))
SERVING = ("postgresql.yaml", "sqlite.yaml")
OLDEST, NEWEST = "1.27.0", kubernetes_validate.latest_version()
"""In 1.27 the probes of gRPC became stable."""


def manifests(name: str) -> dict[str, Any]:
    """Return the manifests of a file by their kinds."""
    found = documents((OPS / "kubernetes" / name).read_text(encoding="utf-8"))
    kinds = {manifest["kind"]: manifest for manifest in found}
    assert len(kinds) == len(found)
    return kinds


def pod_of(manifest: Any) -> Any:
    return manifest["spec"]["template"]["spec"]


def workload(name: str) -> Any:
    (found,) = [each for each in manifests(name).values() if "template" in each["spec"]]
    return found


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_manifest_is_valid(path: Path, version: str) -> None:
    for manifest in manifests(path.name).values():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_is_found() -> None:
    deployment = manifests("postgresql.yaml")["Deployment"]
    pod_of(deployment)["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, NEWEST, strict=True)


@pytest.mark.parametrize("name", SERVING)
def test_all_selectors_and_ports_mean_the_servers(name: str) -> None:
    kinds = manifests(name)
    spec = workload(name)["spec"]
    labels = spec["template"]["metadata"]["labels"]
    selectors = [spec["selector"]["matchLabels"], kinds["Service"]["spec"]["selector"]]
    selectors.append(kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"])
    if "PodDisruptionBudget" in kinds:
        selectors.append(kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"])
        assert spec["replicas"] > kinds["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    assert selectors == [labels] * len(selectors)
    (container,) = spec["template"]["spec"]["containers"]
    (port,) = container["ports"]
    (served,) = kinds["Service"]["spec"]["ports"]
    (let_in,) = kinds["NetworkPolicy"]["spec"]["ingress"][0]["ports"]
    assert (served["targetPort"], let_in["port"]) == (port["name"], port["name"])
    assert f":{port['containerPort']}" in dockerfile("LAMINA_SERVER_LISTEN")
    if name == "sqlite.yaml":
        assert spec["replicas"] == 1
        assert spec["serviceName"] == kinds["Service"]["metadata"]["name"]


def dockerfile(variable: str) -> str:
    text = (OPS.parents[1] / "Dockerfile").read_text(encoding="utf-8")
    (found,) = re.findall(rf"{variable}=(\S+)", text)
    return str(found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_pod_is_confined(path: Path) -> None:
    pod = pod_of(workload(path.name))
    (container,) = pod["containers"]
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10_001)
    confined = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == confined
    assert pod["automountServiceAccountToken"] is False
    assert [each["name"] for each in container["env"] if each["name"] not in KNOWN] == []
    assert all("secretKeyRef" in each["valueFrom"] for each in container["env"] if "value" not in each)


def test_the_page_makes_each_secret_that_is_used() -> None:
    made = set()
    for line in re.findall(r"kubectl create secret (.*(?:\\\n.*)*)", section("Kubernetes")):
        kind, name, *words = shlex.split(line.replace("\\\n", " "))
        options = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)
        keys = {"tls.crt", "tls.key"} if kind == "tls" else {(v.partition("=")[0]) for v in options.values()}
        made |= {(name, key) for key in keys}
    used = set()
    for path in FILES:
        pod = pod_of(workload(path.name))
        (container,) = pod["containers"]
        references = [each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each]
        used |= {(reference["name"], reference["key"]) for reference in references}
        names = {each["name"]: each["secret"]["secretName"] for each in pod.get("volumes", []) if "secret" in each}
        places = {each["mountPath"]: names[each["name"]] for each in mounts(container) if each["name"] in names}
        files = [each["value"] for each in container["env"] if each.get("value", "").startswith("/")]
        used |= {(places[folder], file) for folder, _, file in (path.rpartition("/") for path in files)}
    assert used == made


def mounts(container: Any) -> Any:
    return container.get("volumeMounts", [])


@contextmanager
def pod(name: str, database: str, folder: Path, files: Path) -> Iterator[tuple[ServerProcess, dict[str, str]]]:
    """Run the container's arguments and variables here, with paths and an address of this machine."""
    (container,) = pod_of(workload(name))["containers"]
    environment = {each["name"]: f"{files}{each['value']}" for each in container["env"] if "value" in each}
    environment["LAMINA_SERVER_BOOTSTRAP_TOKEN_FILE"] = str(folder / "admin-token")
    serve, *arguments = container["args"]
    assert serve == "serve"
    with ServerProcess(database, *arguments, "--listen", "0.0.0.0:0", **environment) as server:
        environment["LAMINA_SERVER_LISTEN"] = f"0.0.0.0:{server.target.rpartition(':')[2]}"
        yield server, environment


def local(server: ServerProcess) -> str:
    return f"localhost:{server.target.rpartition(':')[2]}"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Make what the secrets hold, with `ca.pem`."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    own = authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for folder in ("tls", "outer-key"):
        (tmp_path / folder).mkdir()
    own.cert_chain_pems[0].write_to_path(tmp_path / "tls" / "tls.crt")
    own.private_key_pem.write_to_path(tmp_path / "tls" / "tls.key")
    key = tmp_path / "outer-key" / "secret.key"
    key.touch(0o600)
    key.write_bytes(base64.b64encode(os.urandom(32)))
    return tmp_path


@pytest.mark.postgres
@pytest.mark.timeout(180)  # it starts a dozen programs
def test_two_pods_on_postgresql_serve_and_are_probed_by_themselves(
    postgres_url: str, tmp_path: Path, files: Path
) -> None:
    (container,) = pod_of(workload("postgresql.yaml"))["containers"]
    (migrate,) = pod_of(workload("migrate.yaml"))["containers"]
    program = [sys.executable, "-m", "lamina_server", *migrate["args"]]
    subprocess.run(program, env={**os.environ, "LAMINA_SERVER_DATABASE": postgres_url}, check=True)
    with ExitStack() as stack:
        pods = []
        for number in range(workload("postgresql.yaml")["spec"]["replicas"]):
            folder = tmp_path / str(number)
            folder.mkdir()
            pods.append(stack.enter_context(pod("postgresql.yaml", postgres_url, folder, files)))
        (token,) = [path.read_text().strip() for path in tmp_path.glob("*/admin-token")]
        tls = lamina.TLS(ca=tmp_path / "ca.pem")
        first, second = (stack.enter_context(lamina.connect(local(server), token=token, tls=tls)) for server, _ in pods)
        config = first.config("shop/prod", create=True)
        config["password"] = lamina.Secret("hunter2")
        config.commit()
        assert second.config("shop/prod").version == 1
        for server, environment in pods:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                name, *arguments = container[probe]["exec"]["command"]
                assert name == "lamina-server"
                assert probed(arguments, environment) == 0
            server.stop()
            assert probed(["health"], environment) == 1


def probed(arguments: list[str], environment: dict[str, str]) -> int:
    """Return the exit code of a probe."""
    program = [sys.executable, "-m", "lamina_server", *arguments]
    return subprocess.run(program, env={**os.environ, **environment}, check=False).returncode


def test_a_pod_on_sqlite_serves_and_is_probed_by_grpc(tmp_path: Path, files: Path) -> None:
    (container,) = pod_of(workload("sqlite.yaml"))["containers"]
    with pod("sqlite.yaml", f"sqlite:///{tmp_path}/lamina.db", tmp_path, files) as (server, _):
        with grpc.insecure_channel(local(server)) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                request = health_pb2.HealthCheckRequest(service=container[probe]["grpc"].get("service", ""))
                assert stub.Check(request, timeout=10).status == health_pb2.HealthCheckResponse.SERVING
        token = (tmp_path / "admin-token").read_text().strip()
        with lamina.connect(local(server), token=token, tls=False) as client:
            config = client.config("shop/prod", create=True)
            config["password"] = lamina.Secret("hunter2")
            assert config.commit().number == 1
