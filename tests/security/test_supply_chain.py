"""What others get from us can be built again by anybody, and says what it brings along; no silence is good news."""

import json
import re
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
from packaging.utils import canonicalize_name

from tests.security.supply_chain import (
    LOCKS,
    ROOT,
    AuditError,
    ask_for_advisories,
    bill_of_materials,
    build,
    build_twice,
    judge,
    locked,
    sha256,
)


def test_the_wheel_is_the_same_bytes_wherever_it_is_built(tmp_path: Path) -> None:
    """From another folder, at another time, by another user with other habits, and from the source distribution."""
    wheel = build_twice(tmp_path / "dist")
    with tarfile.open(next((tmp_path / "dist").glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path / "elsewhere", filter="data")
    (elsewhere,) = (tmp_path / "elsewhere").iterdir()
    for file in elsewhere.rglob("*.py"):
        file.chmod(0o600)
    for cache in (elsewhere / "client" / "lamina" / "__pycache__", elsewhere / "server" / "lamina_server" / ".cache"):
        cache.mkdir()
        (cache / "left.pyc").touch()
    odd = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7", "HOME": str(tmp_path)}
    again = build(tmp_path / "again", "--wheel", source=elsewhere, environment=odd)
    assert sha256(again) == sha256(wheel)


def test_the_bill_of_materials_is_what_the_product_installs() -> None:
    bill = bill_of_materials()
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "lamina")
    names = {canonicalize_name(each["name"]) for each in bill["components"]}
    assert {"grpcio", "sqlalchemy", "psycopg-binary", "pyjwt", "cryptography", "cffi", "click", "mako"} <= names
    assert not names & {"pytest", "hatchling", "openfeature-sdk", "pip-audit"}
    versions = {f"{canonicalize_name(each['name'])}=={each['version']}" for each in bill["components"]}
    assert versions <= {each for packages in locked() for each in packages}
    assert {each["ref"] for each in bill["dependencies"]} == {
        bill["metadata"]["component"]["bom-ref"],
        *(each["bom-ref"] for each in bill["components"]),
    }


def test_all_that_is_locked_is_asked_about() -> None:
    asked = {each for packages in locked() for each in packages}
    for lock in LOCKS:
        text = (ROOT / lock).read_text(encoding="utf-8")
        entries = re.findall(r"^[a-z0-9].*?(?= |$)", text, re.MULTILINE)
        assert entries
        assert {re.sub(r"\[.*\]", "", entry) for entry in entries} <= asked


class Advisories(ThreadingHTTPServer):
    """An advisory service in the shape of OSV's.

    url    where it is
    asked  the packages that it was asked about
    flaws  what it answers for one package
    """

    def __init__(self, flaws: dict[str, list[dict[str, Any]]], status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1/query"
        self.asked: set[str] = set()
        self.flaws, self.status = flaws, status

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


class _Answers(BaseHTTPRequestHandler):
    server: Advisories

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, version = query["package"]["name"], query["version"]
        self.server.asked.add(f"{name}=={version}")
        answer = json.dumps({"vulns": self.server.flaws[name]} if name in self.server.flaws else {}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


FLAW = {
    "id": "PYSEC-2026-1",
    "summary": "a flaw",
    "affected": [
        {
            "package": {"name": "grpcio", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9999"}]}],
            "versions": [],
        }
    ],
}


def test_a_known_vulnerability_is_named_with_the_version_that_mends_it() -> None:
    with Advisories({"grpcio": [FLAW]}) as advisories:
        with pytest.raises(AuditError, match=r"grpcio [0-9.]+: PYSEC-2026-1, mended in 9999"):
            ask_for_advisories("osv", advisories.url)
        assert advisories.asked == {each for packages in locked() for each in packages}


def test_an_advisory_service_that_is_away_is_no_good_news() -> None:
    with Advisories({}) as advisories:
        url = advisories.url
    with pytest.raises(AuditError, match=r"(?s)nothing was audited, .*'osv' did not answer: .*\nIt needs the network"):
        ask_for_advisories("osv", url)
    with Advisories({}, status=500) as advisories, pytest.raises(AuditError, match="did not answer"):
        ask_for_advisories("osv", advisories.url)


def test_packages_that_were_not_audited_are_no_good_news() -> None:
    """pip-audit succeeds if a mirror of the registry has no advisories at all."""
    skipped = {"name": "grpcio", "skip_reason": "Dependency not found on PyPI and could not be audited"}
    judge([{"name": "protobuf", "version": "7", "vulns": []}], "pypi")
    with pytest.raises(AuditError, match=r"1 of 2 packages could not be audited, .* does not know them: grpcio"):
        judge([skipped, {"name": "protobuf", "version": "7", "vulns": []}], "pypi")
