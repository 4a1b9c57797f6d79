"""The set-ups of server/ACCESS.md run as printed, but for their addresses; identity providers are played."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.store.memory import MemoryStore
from tests.security.closed import closed
from tests.security.people import People, Person
from tests.security.provider import Provider
from tests.support import absent
from tests.support.server import ServerProcess

PAGE = (Path(__file__).parents[2] / "server" / "ACCESS.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(?P<language>\w+)\n(?P<code>.*?)\n```", re.DOTALL)
PRINTED = re.compile(r"print\(.*\)  # (?P<line>.+)$", re.MULTILINE)
PUBLIC, EVERYWHERE, LOCAL = "lamina.corp.example:7440", "0.0.0.0:7440", "localhost:7440"


class Reader:
    """Somebody who follows the page in one folder, with one shell, and starts the servers that it names."""

    def __init__(self, folder: Path, end: ExitStack) -> None:
        self._folder = folder
        self._end = end
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": programs, "LC_ALL": "C.UTF-8"}
        self._target = ""

    def follow(self, language: str, code: str) -> None:
        """Do what a block says."""
        code = code.replace(PUBLIC, self._target)
        if code.startswith("lamina-server serve"):
            self._serve(code)
        elif language == "sh":
            exported = self._folder / ".exported"
            self._run(["bash", "-euo", "pipefail", "-c", f"{code}\nenv -0 > {exported}"])
            self._environment = dict(each.split("=", 1) for each in exported.read_text().rstrip("\0").split("\0"))
        elif language == "python":
            shown = self._run([sys.executable, "-W", "error", "-c", code])
            assert shown.splitlines() == PRINTED.findall(code)

    def _serve(self, code: str) -> None:
        self._end.close()  # the server before this one, on the same database
        free = code.replace(EVERYWHERE, "0.0.0.0:0").replace(LOCAL, "localhost:0")
        program = [str(Path(sys.executable).with_name("lamina-server")), *shlex.split(free)[1:]]
        server = self._end.enter_context(ServerProcess.of_program(program, cwd=self._folder))
        self._target = server.target.replace("0.0.0.0", "localhost")
        self._environment["LAMINA_TARGET"] = self._target

    def _run(self, program: list[str]) -> str:
        done = subprocess.run(
            program, cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{program[-1]}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    authority = trustme.CA()
    ours = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    ours.private_key_pem.write_to_path(tmp_path / "key.pem")
    with ExitStack() as end:
        yield Reader(tmp_path, end)


@pytest.mark.timeout(180)  # dozens of commands, one after the other
@pytest.mark.parametrize("title", ["One team with tokens", "Certificates: mTLS with SPIFFE names"])
def test_the_set_up_runs_as_printed(title: str, reader: Reader) -> None:
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = list(BLOCK.finditer(section))
    assert found
    if "openssl" in section and shutil.which("openssl") is None:
        absent("openssl", "it makes the certificates (Debian: apt install openssl)")
    for block in found:
        reader.follow(block["language"], block["code"])


ISSUER = re.compile(r"'(?P<key>issuers/\w+):=(?P<value>\{.*?\n\})'", re.DOTALL)
VARIABLE = re.compile(r"\b(tenant|client)=(\S+)")
GRANT = re.compile(r"^lamina access grant (\S+) (\S+) (\S+)( --reveal)?", re.MULTILINE)

TOKENS: dict[str, tuple[dict[str, Any], str, set[str]]] = {
    "Keycloak": (
        {"sub": "f3a1c2de-0000-4000-8000-000000000001", "preferred_username": "ada", "groups": ["platform"]},
        "oidc:ada",
        {"oidc:ada", "group:platform"},
    ),
    "Microsoft Entra ID": (
        {"sub": "AAAAbbbb", "oid": "22222222-2222-2222-2222-222222222222", "roles": ["payments-writers"], "ver": "2.0"},
        "oidc:22222222-2222-2222-2222-222222222222",
        {"group:payments-writers"},
    ),
    "Google": (
        {"sub": "1234567890", "email": "shop@corp-prod.iam.gserviceaccount.com", "email_verified": True},
        "oidc:shop@corp-prod.iam.gserviceaccount.com",
        {"oidc:shop@corp-prod.iam.gserviceaccount.com"},
    ),
    "Kubernetes service accounts": (
        {"sub": "system:serviceaccount:payments:shop", "kubernetes.io": {"namespace": "payments"}},
        "oidc:system:serviceaccount:payments:shop",
        {"oidc:system:serviceaccount:payments:shop"},
    ),
}
"""What the tokens of each provider say, whom they name, and who of the page's grants they are."""


@pytest.mark.parametrize("title", TOKENS)
async def test_a_provider_names_whom_the_page_grants(title: str) -> None:
    claims, principal, subjects = TOKENS[title]
    section = re.split(rf"^##+ {title}\n", PAGE, flags=re.MULTILINE)[1]
    section = re.split(r"^##", section, flags=re.MULTILINE)[0]
    people = People()
    people.admin()
    for subject, role, pattern, reveal in GRANT.findall(section):
        people.grant(subject, role, pattern.strip("'"), reveal=bool(reveal))
    with Provider() as provider:
        issuer = issuer_of(section)
        for name, value in issuer.items():
            people.values[name] = {**value, "jwks": f"{provider.url}/keys"}
            assert value["jwks"].startswith(("https://", "file:///etc/lamina/"))
        (trusted,) = issuer.values()
        audience = [trusted["audience"]] if title.startswith("Kubernetes") else trusted["audience"]
        caller = Person(token=provider.token(iss=trusted["url"], aud=audience, **claims))
        async with closed(MemoryStore(), people) as server:
            found = await server.stub(caller).WhoAmI(pb.WhoAmIRequest())
    assert found.principal == principal
    assert {grant.subject for grant in found.grants} == subjects


def issuer_of(section: str) -> dict[str, dict[str, str]]:
    """Return the issuer that a section of the page sets, with the shell's variables in their places."""
    printed = ISSUER.search(section)
    assert printed is not None
    value = printed["value"]
    for name, content in VARIABLE.findall(section):
        value = value.replace(f"'${name}'", content)
    return {printed["key"]: json.loads(value)}
