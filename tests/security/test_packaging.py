"""What is installed on other people's machines is what we mean to give them."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from email import message_from_string
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "tests/requirements.lock", "tests/benchmarks/requirements.lock")
GENERATED = ROOT / "protos" / "lamina_protos" / "v1"


def _locked(lock: str) -> dict[str, str]:
    """Return the version of each distribution that a lock holds."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


def _floor(distribution: str) -> str:
    """Return the oldest version that an installation of the SDK accepts."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirement: str = next(line for line in project["dependencies"] if line.startswith(f"{distribution}>="))
    return requirement.removeprefix(f"{distribution}>=").partition(",")[0]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel that the project builds."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], check=True, cwd=ROOT)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_wheel_holds_typed_packages(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "lamina",
        "lamina_protos",
        "lamina_pytest",
        "lamina_server",
    }
    packages = ("lamina", "lamina_protos", "lamina_pytest", "lamina_server")
    assert {f"{package}/py.typed" for package in packages} <= names
    # The contract travels with the code made from it, for clients in other languages.
    assert "lamina_protos/v1/lamina.proto" in names
    assert "lamina_protos/v1/lamina_pb2.pyi" in names


def test_base_installation_needs_only_grpc_and_protobuf(wheel: zipfile.ZipFile) -> None:
    metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    requirements = message_from_string(wheel.read(metadata).decode()).get_all("Requires-Dist") or []
    base = {re.split(r"[<>=\[ ;]", line)[0] for line in requirements if "extra ==" not in line}
    assert base == {"googleapis-common-protos", "grpcio", "protobuf"}


def test_the_documentation_names_all_that_the_base_installation_brings() -> None:
    """And what those bring themselves."""
    brought, left = set(), ["lamina"]
    while left:
        for line in requires(left.pop()) or ():
            requirement = Requirement(line)
            if requirement.name not in brought and (
                not requirement.marker or requirement.marker.evaluate({"extra": ""})
            ):
                brought.add(requirement.name)
                left.append(requirement.name)
    page = (ROOT / "client" / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `pip install PATH` \|(.*)\|$", page, re.MULTILINE)
    assert brought == set(re.findall("`([a-z-]+)`", row))


def test_wheel_offers_the_pytest_plugin(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    offered = ConfigParser()
    offered.read_string(wheel.read(name).decode())
    assert dict(offered["pytest11"]) == {"lamina_pytest": "lamina_pytest"}


def test_generated_code_runs_on_the_oldest_versions_that_we_accept() -> None:
    code = (GENERATED / "lamina_pb2.py").read_text(encoding="utf-8")
    grpc_code = (GENERATED / "lamina_pb2_grpc.py").read_text(encoding="utf-8")
    major, minor, patch = re.findall(r"Domain\.PUBLIC,\s*(\d+),\s*(\d+),\s*(\d+)", code)[0]
    assert f"{major}.{minor}.{patch}" == _floor("protobuf")
    assert re.findall(r"GRPC_GENERATED_VERSION = '([\d.]+)'", grpc_code) == [f"{_floor('grpcio')}.0"]


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_host_and_hashes_everything(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    entries = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.partition("\n")[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_node_lock_names_no_registry() -> None:
    lock = json.loads((ROOT / "tests/e2e/node/package-lock.json").read_text(encoding="utf-8"))
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []


def test_development_lock_is_the_production_lock_and_more() -> None:
    production, development, _ = (_locked(lock) for lock in LOCKS)
    assert production.items() <= development.items()


def test_what_is_measured_against_fits_beside_what_is_measured() -> None:
    """One environment holds both: `make bench` adds to it, and changes nothing."""
    _, development, bench = (_locked(lock) for lock in LOCKS)
    shared = development.keys() & bench.keys()
    assert "grpcio" in shared
    assert {name: bench[name] for name in shared} == {name: development[name] for name in shared}
