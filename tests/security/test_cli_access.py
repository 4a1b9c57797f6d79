"""The command line on a closed server: an admin gives and takes rights, and nobody else does."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lamina.cli.access_map import ACCESS_CONFIG
from lamina_server.access.live import read_map
from lamina_server.store.memory import MemoryStore
from tests.cli.running import InProcess
from tests.client.live_helpers import until
from tests.security.closed import Closed, Secured, closed
from tests.security.people import People, Person


class Commands:
    """Runs commands with a token, in a thread: the server runs on the test's event loop."""

    def __init__(self, server: Closed, token: str) -> None:
        self._server = server
        self._cli = InProcess(server.target)
        self._cli.environment = {"LAMINA_TARGET": server.target, "LAMINA_TOKEN": token}

    async def out(self, *arguments: str) -> str:
        printed = await asyncio.to_thread(self._cli.out, *arguments)
        await self._followed()
        return printed

    async def _followed(self) -> None:
        """Wait until the server knows the newest access: it follows its own config as other servers do."""
        application = self._server.application
        head, _ = await application._readers.read(read_map)
        async with until(lambda: application.access.current.version >= head.number):
            pass

    async def error(self, *arguments: str, code: int, environment: Mapping[str, str] | None = None) -> str:
        ended = await asyncio.to_thread(lambda: self._cli(*arguments, code=code, **environment or {}))
        await self._followed()
        return ended.stderr

    def of(self, token: str) -> "Commands":
        """Return the commands with another token."""
        return Commands(self._server, token.strip())


@asynccontextmanager
async def ruled() -> AsyncIterator[Commands]:
    """Run a closed server; yield the commands of its admin."""
    people = People()
    root = people.admin("root", reveal=True)
    # The server's log would be in what a command has printed: they share this process's standard output.
    async with closed(MemoryStore(), people) as server:
        with capture_logs():
            yield Commands(server, root.token)


async def test_a_new_token_does_what_it_was_granted_until_it_is_revoked() -> None:
    async with ruled() as root:
        await root.out("set", "shop/prod", "timeout:=30", "--create")
        await root.out("set", "pay/prod", "timeout:=30", "--create")
        printed = await root.out("token", "create", "deployer", "--grant", "writer", "shop/*")
        deployer = root.of(printed)
        assert (await deployer.out("whoami")).splitlines() == ["token:deployer", "writer  shop/*"]
        assert "shop/prod is now version 2" in await deployer.out("set", "shop/prod", "timeout:=45")
        assert [line.split()[0] for line in (await deployer.out("configs")).splitlines()] == ["shop/prod"]
        assert "there is no config 'pay/prod'" in await deployer.error("get", "pay/prod", code=4)
        log = json.loads(await root.out("log", "shop/prod", "-n", "1", "-o", "json"))
        assert (log["author"], log["author_verified"]) == ("token:deployer", True)
        assert "ended 1 token: deployer" in await root.error("token", "revoke", "deployer", code=0)
        said = await deployer.error("get", "shop/prod", code=1)
        assert said.startswith("lamina: the token is not valid: it is unknown, or was revoked; ask an admin")
        assert said.endswith("; the token is from LAMINA_TOKEN\n")


async def test_who_is_no_admin_sees_and_changes_no_access() -> None:
    async with ruled() as root:
        shop = root.of(await root.out("token", "create", "shop", "--grant", "admin", "shop/**"))
        for arguments in (["access", "list"], ["access", "log"], ["token", "list"]):
            said = await shop.error(*arguments, code=4)
            assert "there is no _lamina/access that you may read: `lamina whoami` shows who you are" in said
        for arguments in (["access", "grant", "token:shop", "admin", "**"], ["token", "create", "another"]):
            said = await shop.error(*arguments, code=1)
            assert "this needs the role admin on '_lamina/access', which 'token:shop' does not have" in said
            assert "lamina_" not in said, "no token is printed that nobody knows"
            assert "there is no token" not in said, "it may not see them"
        for arguments in (["access", "revoke", "token:root", "**"], ["token", "revoke", "root"]):
            said = await shop.error(*arguments, code=4)
            assert "there is no _lamina/access that you may read" in said, "nothing is said about root"


async def test_an_admin_may_end_its_own_token() -> None:
    async with ruled() as root:
        ada = root.of(await root.out("token", "create", "ada", "--grant", "admin", "**"))
        said = await ada.error("token", "revoke", "ada", code=0)
        assert "ended 1 token: ada" in said
        assert "token:ada is still admin of **: lamina access revoke token:ada '**'" in said
        await ada.error("whoami", code=1)


async def test_an_admin_asks_what_others_may_do() -> None:
    async with ruled() as root:
        shop = root.of(await root.out("token", "create", "shop", "--grant", "admin", "shop/**"))
        await root.out("access", "grant", "group:platform", "reader", "shop/*", "--reveal")
        assert (await root.out("access", "check", "token:shop", "shop/prod")).splitlines() == [
            "token:shop is admin of shop/prod, and may not reveal its secrets",
            "token:shop  admin  shop/**",
        ]
        claimed = await root.out("access", "check", "oidc:ada", "shop/prod", "--group", "group:platform", "-o", "json")
        grant = {"subject": "group:platform", "role": "reader", "pattern": "shop/*", "reveal": True}
        assert json.loads(claimed) == {"role": "reader", "reveal": True, "grants": [grant]}
        assert await root.error("access", "check", "oidc:ada", "shop/prod", code=1) == "", (
            "it is an answer, and no error"
        )
        refused = await shop.error("access", "check", "token:root", "pay/prod", code=1)
        assert "this needs the role admin on 'pay/prod', which 'token:shop' does not have" in refused


async def test_a_server_that_refuses_its_caller_is_up() -> None:
    async with ruled() as root:
        assert "token:root" in await root.out("status")
        stranger = root.of("lamina_unknown_secret")
        assert await stranger.error("status", code=1) == ""
        assert await stranger.error("status", "--target", "localhost:1", code=5) == ""


async def test_the_last_admin_stays() -> None:
    async with ruled() as root:
        for arguments in (["access", "revoke", "token:root", "**"], ["token", "revoke", "root"]):
            said = await root.error(*arguments, code=2)
            assert "would leave no admin of _lamina/access" in said
        await root.out("whoami")


async def test_what_the_server_refuses_is_told_with_the_key() -> None:
    """Only the server knows all rules. It names the key, and what would do."""
    async with ruled() as root:
        said = await root.error("access", "grant", "token:a", "reader", "shop/***", code=2)
        assert "grants/token:a shop/***" in said
        assert "has a pattern that matches no config: a config's name, with '*' and '**' as wildcards" in said


async def test_errors_say_what_to_do(tmp_path: Path) -> None:
    async with ruled() as root:
        said = await root.error("configs", code=1, environment={"LAMINA_TOKEN": ""})
        assert "give token=, --token-file, LAMINA_TOKEN or LAMINA_TOKEN_FILE, or sign in with" in said
        assert "; LAMINA_TOKEN is set, but empty" in said
        path = tmp_path / "token"
        path.touch(mode=0o600)
        await asyncio.to_thread(path.write_text, "lamina_unknown_secret", encoding="utf-8")
        said = await root.error("configs", "--token-file", str(path), code=1)
        assert said.endswith(f"; the token is from the file {path}\n")
        assert "secret" not in said
        said = await root.error("configs", code=2, environment={"LAMINA_AUTHOR": "ada"})
        assert (
            "the author that the client names is refused, because this server knows its callers: leave out author="
            in said
        )


@pytest.fixture
def certified(tmp_path: Path) -> tuple[People, Person, dict[str, str]]:
    """Return people, one of whom has a certificate and everything else, and that certificate in the environment."""
    people = People()
    ada = people.certificate("uri:spiffe://corp.example/ada")
    people.grant(ada.principal, "admin", "**")
    assert ada.certificate is not None
    names = {"LAMINA_TLS_CERT": ada.certificate[0], "LAMINA_TLS_KEY": ada.certificate[1]}
    environment: dict[str, str] = {}
    for name, content in names.items():
        file = tmp_path / f"{name}.pem"
        file.write_bytes(content)
        environment[name] = str(file)
    return people, ada, environment


async def test_by_certificates_alone(certified: tuple[People, Person, dict[str, str]], tmp_path: Path) -> None:
    people, ada, certificate = certified
    async with closed(MemoryStore(), people, secured=Secured.MTLS) as server:
        with capture_logs():
            cli = InProcess(server.target)
            cli.environment = {"LAMINA_TARGET": server.target, "LAMINA_TLS_CA": str(trusted(server, tmp_path))}
            said = await asyncio.to_thread(lambda: cli("whoami", "--timeout", "0.5", code=5).stderr)
            assert "does it want a certificate, or another one? TLS(cert=, key=) or --tls-cert" in said
            cli.environment |= certificate
            assert (await asyncio.to_thread(lambda: cli.out("whoami"))).startswith(ada.principal)
            made = await asyncio.to_thread(lambda: cli("token", "create", "ci"))
            assert "this server knows its callers by certificates: it takes no token" in made.stderr


async def test_a_certificate_that_is_not_asked_for(
    certified: tuple[People, Person, dict[str, str]], tmp_path: Path
) -> None:
    people, _, certificate = certified
    root = people.admin("root")
    async with closed(MemoryStore(), people, secured=Secured.TLS) as server:
        with capture_logs():
            cli = InProcess(server.target)
            cli.environment = {"LAMINA_TARGET": server.target, "LAMINA_TLS_CA": str(trusted(server, tmp_path))}
            cli.environment |= certificate
            said = await asyncio.to_thread(lambda: cli("whoami", code=1).stderr)
            assert "the certificate of this client was not asked for" in said
            me = await asyncio.to_thread(lambda: cli.out("whoami", LAMINA_TOKEN=root.token))
            assert "your certificate was not asked for: this server does not know its callers by certificates" in me


async def test_a_message_with_a_token_is_refused(tmp_path: Path) -> None:
    """It would be kept for ever, and every reader would see it."""
    async with ruled() as root:
        await root.out("set", "shop/prod", "x:=1", "--create")
        made = await root.out("token", "create", "ci")
        refused = await root.error("set", "shop/prod", "x:=2", "-m", f"for {made.strip()}", code=2)
        assert "message: has a token in it, which every reader would see: revoke that token" in refused
        assert made.strip() not in refused
        assert "2" not in (await root.out("get", "shop/prod"))


def trusted(server: Closed, folder: Path) -> Path:
    """Write a file with the authority of a server."""
    path = folder / "ca.pem"
    path.write_bytes(server.authority)
    return path


async def test_an_import_a_revert_and_a_fork_obey_the_schema_and_leave_an_admin(tmp_path: Path) -> None:
    """Each of them is a way to write `_lamina/access`, and none is a way around what a commit has to obey."""
    bad, lone = tmp_path / "bad.json", tmp_path / "lone.json"
    bad.write_text(json.dumps({"users/eve": {"role": "admin"}}))
    lone.write_text(json.dumps({"groups/platform": []}))
    async with ruled() as root:
        for options in ([], ["--dry-run"]):
            refused = await root.error("import", ACCESS_CONFIG, str(bad), *options, code=2)
            assert "users/eve: is no key of _lamina/access" in refused
            refused = await root.error("import", ACCESS_CONFIG, str(lone), "--replace", *options, code=2)
            assert "would leave no admin of _lamina/access, which is now 'token:root'" in refused
        ada = root.of(await root.out("token", "create", "ada", "--grant", "admin", "**"))
        await ada.out("access", "revoke", "token:root", "**")
        refused = await ada.error("revert", ACCESS_CONFIG, "grants/token:ada **", "--to", "1", code=2)
        assert "would leave no admin of _lamina/access, which is now 'token:ada'" in refused
        await ada.out("set", "shop/prod", "a:=1", "--create")
        assert "cannot be forked" in await ada.error("fork", ACCESS_CONFIG, "mine", code=2)
        assert "is no fork" in await ada.error("fork", "shop/prod", ACCESS_CONFIG, code=2)
        gone = await ada.error("revert", ACCESS_CONFIG, "--to", "1", code=1)  # which has an admin: root
        assert "version 4 is written, but cannot be read" in gone
        assert "token:root" in await root.out("access", "list")
