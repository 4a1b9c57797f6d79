"""Signing in by the device flow (RFC 8628), over real HTTP: the login, its file, its renewal, and its end."""

import asyncio
import json
import os
import pickle
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina import login
from lamina.login import renewal
from lamina.login.device import GRANT_TYPE
from lamina.login.kept import locked
from lamina_server.store.memory import MemoryStore
from tests.cli.running import InProcess
from tests.client.conftest import sdk
from tests.client.sdk import Sdk, beside
from tests.security.closed import closed
from tests.security.device_provider import JWT, DeviceProvider
from tests.security.people import People
from tests.security.provider import Provider

__all__ = ["sdk"]

TARGET = "far.example:7440"


@pytest.fixture
def provider() -> Iterator[DeviceProvider]:
    with DeviceProvider() as provider:
        yield provider


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the logins."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "lamina" / "logins"


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def logged_in(provider: DeviceProvider, target: str = TARGET) -> login.Login:
    return login.keep(login.begin(provider.url).wait(), target)


class TestDeviceFlow:
    def test_it_polls_until_the_person_has_confirmed(self, provider: DeviceProvider) -> None:
        """`slow_down` adds five seconds to each pause. A provider that is away is asked again after twice the pause."""
        provider.device = {"interval": 2, "verification_uri_complete": f"{provider.url}/activate?code=ABCD-EFGH"}
        provider.answers.extend(["authorization_pending", "slow_down", "authorization_pending", 503])
        slept: list[float] = []
        begun = login.begin(provider.url, client_id="ours", audience="lamina")
        assert (begun.url, begun.code) == (f"{provider.url}/activate", "ABCD-EFGH")
        assert begun.complete_url == f"{provider.url}/activate?code=ABCD-EFGH"
        done = begun.wait(slept.append)
        assert done.token == JWT.format("token1")
        assert slept == [2, 2, 7, 7, 14]
        path, form = provider.forms[0]
        assert (path, form) == (
            "/device",
            {"client_id": "ours", "scope": "openid offline_access", "audience": "lamina"},
        )
        assert provider.forms[-1] == (
            "/token",
            {"grant_type": GRANT_TYPE, "device_code": "device-code", "client_id": "ours"},
        )

    @pytest.mark.parametrize(
        ("code", "kind", "words"),
        [
            ("access_denied", lamina.PermissionDeniedError, "the login was refused at the provider"),
            ("expired_token", lamina.DeadlineError, "nobody has confirmed the login, and its code has expired"),
            ("invalid_grant", lamina.UnauthenticatedError, "refuses the login: invalid_grant: as the test wanted"),
        ],
    )
    def test_it_ends(self, provider: DeviceProvider, code: str, kind: type[Exception], words: str) -> None:
        provider.answers.extend(["authorization_pending", code])
        with pytest.raises(kind, match=words):
            login.begin(provider.url).wait()

    def test_it_ends_with_the_code_s_life(self, provider: DeviceProvider) -> None:
        provider.device = {"expires_in": 0.05}
        provider.answers.extend(["authorization_pending"] * 100)
        with pytest.raises(lamina.DeadlineError, match="begin again"):
            login.begin(provider.url).wait()

    @pytest.mark.parametrize(
        ("discovery", "words"),
        [
            ({"device_authorization_endpoint": None}, "has no device_authorization_endpoint: it does not support"),
            ({"issuer": "https://other.example"}, "is about the issuer 'https://other.example': give exactly"),
            ({"token_endpoint": "http://other.example/token"}, "token_endpoint must be an https: URL"),
            ({"token_endpoint": "file:///etc/passwd"}, "token_endpoint must be an https: URL"),
        ],
    )
    def test_a_provider_that_cannot_is_refused(
        self, provider: DeviceProvider, discovery: dict[str, Any], words: str
    ) -> None:
        provider.discovery = discovery
        with pytest.raises(lamina.InvalidError, match=words):
            login.begin(provider.url)

    @pytest.mark.parametrize(
        "issuer", ["http://sso.example.com", "sso.example.com", "https://", "https://u:p@a.example"]
    )
    def test_an_issuer_without_tls_is_refused(self, issuer: str) -> None:
        with pytest.raises(lamina.InvalidError, match="the issuer must be an https: URL") as caught:
            login.begin(issuer)
        assert "u:p" not in str(caught.value)

    @pytest.mark.parametrize(
        "device",
        [{"user_code": None}, {"device_code": 3}, {"user_code": "AB\n\x1b[2J"}, {"verification_uri": "https://a\rb"}],
    )
    def test_an_answer_that_cannot_be_shown_is_refused(self, provider: DeviceProvider, device: dict[str, Any]) -> None:
        provider.device = device
        with pytest.raises(lamina.InvalidError, match="answers without a page and a code"):
            login.begin(provider.url)

    @pytest.mark.parametrize("lifetime", [float("inf"), 10**400, 1e300, 1e18], ids=["endless", "long", "large", "far"])
    def test_numbers_that_are_none_are_replaced(self, provider: DeviceProvider, lifetime: float) -> None:
        provider.device = {"expires_in": float("nan"), "interval": 0}
        provider.lifetime = lifetime
        begun = login.begin(provider.url)
        assert begun.expires_seconds == 600
        assert 0 < begun.wait().expires - time.time() <= 300

    def test_no_redirect_is_followed(self, provider: DeviceProvider) -> None:
        provider.answers.append(302)
        with pytest.raises(lamina.UnauthenticatedError, match=r"refuses to sign in \(HTTP 302\)"):
            login.begin(provider.url).wait()
        assert provider.calls["/elsewhere"] == 0

    def test_a_provider_that_is_away(self) -> None:
        with pytest.raises(lamina.UnavailableError, match=r"127\.0\.0\.1:1 cannot be reached: "):
            login.begin("http://127.0.0.1:1")

    def test_another_issuer_s_page_is_told(self, provider: DeviceProvider) -> None:
        with pytest.raises(lamina.InvalidError, match=r"has no page /\.well-known/openid-configuration \(HTTP 404\)"):
            login.begin(f"{provider.url}/realms/none")

    def test_a_token_that_no_server_can_check(self, provider: DeviceProvider) -> None:
        """Google's access tokens are no JWTs: then it is the token that says who the person is."""
        provider.answers.append({"access_token": "opaque", "id_token": JWT.format("id")})
        assert login.begin(provider.url).wait().token == JWT.format("id")
        provider.answers.append({"access_token": "opaque"})
        with pytest.raises(lamina.UnauthenticatedError, match="brings no JWT"):
            login.begin(provider.url).wait()


class TestFiles:
    def test_only_its_user_can_read_it(self, provider: DeviceProvider, folder: Path) -> None:
        os.umask(previous := os.umask(0o000))
        try:
            logged_in(provider)
        finally:
            os.umask(previous)
        (path,) = files(folder)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        path.chmod(0o640)
        assert login.find(TARGET) is None, "others may have read it"

    def test_nothing_of_a_login_stays_that_was_forgotten(self, provider: DeviceProvider, folder: Path) -> None:
        """Also what a process was writing when it was killed."""
        logged_in(provider)
        (path,) = files(folder)
        killed = (
            "import os, lamina.login; from lamina.login import kept; os.fsync = lambda _: os._exit(9);"
            f"kept.write(lamina.login.find({TARGET!r}))"
        )
        assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == 9
        assert len(list(folder.glob(f"{path.stem}.*"))) == 2
        login.forget(TARGET)
        assert [each.name for each in folder.iterdir()] == [".lock"]

    def test_it_is_for_its_targets_alone(self, provider: DeviceProvider, folder: Path) -> None:
        logged_in(provider, "a.example,B.example:7440")
        found = login.find("b.example, a.example:7440")
        assert found is not None
        assert found.targets == ("a.example:7440", "b.example:7440")
        assert login.find("a.example") == found, "`lamina status` asks each address"
        assert login.find("c.example") is None
        assert login.find("a.example,c.example") is None, "it would be sent to c.example, too"
        logged_in(provider, "a.example")
        assert len(files(folder)) == 1, "it takes the place of the earlier one"

    def test_a_damaged_file_is_left_out(self, provider: DeviceProvider, folder: Path) -> None:
        logged_in(provider)
        (path,) = files(folder)
        for content in ("", "[]", "{}", '{"targets": 3}'):
            path.write_text(content, encoding="utf-8")
            assert login.find(TARGET) is None

    def test_no_repr_and_no_pickle_has_the_token(self, provider: DeviceProvider) -> None:
        kept = logged_in(provider)
        token = lamina.LoginToken(TARGET)
        assert token() == kept.token
        assert kept.token not in repr(kept) + repr(token)
        assert "refresh" not in repr(kept).replace("refresh_token", "")
        assert kept.token.encode() not in pickle.dumps(token)
        with pytest.raises(TypeError, match="a Login does not pickle"):
            pickle.dumps(kept)


class TestRenewal:
    def test_it_is_renewed_before_it_ends(self, provider: DeviceProvider, folder: Path) -> None:
        provider.lifetime = 0.4
        logged_in(provider)
        token = lamina.LoginToken(TARGET)
        assert token() == JWT.format("token1")
        assert provider.calls["/token"] == 1
        ended = time.monotonic() + 10
        while (present := token()) == JWT.format("token1"):
            assert time.monotonic() < ended
        assert present == JWT.format("token2")
        assert provider.forms[-1][1] == {
            "grant_type": "refresh_token",
            "refresh_token": "refresh1",
            "client_id": "lamina",
        }
        kept = json.loads(files(folder)[0].read_text(encoding="utf-8"))
        assert (kept["token"], kept["refresh_token"]) == (present, "refresh2")

    def test_processes_renew_it_once(self, provider: DeviceProvider) -> None:
        """A refresh token is often valid once: whoever comes second must not use it."""
        provider.lifetime = 0.0
        logged_in(provider)
        provider.lifetime = 300.0
        program = f"import lamina; print(lamina.LoginToken({TARGET!r})())"
        command = [sys.executable, "-c", program]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        assert [process.communicate()[0] for process in processes] == [JWT.format("token2") + "\n"] * 2
        assert provider.calls["/token"] == 2

    def test_threads_renew_it_once(self, provider: DeviceProvider) -> None:
        provider.lifetime = 0.0
        logged_in(provider)
        provider.lifetime = 300.0
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.append(lamina.LoginToken(TARGET)())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [JWT.format("token2")] * 8
        assert provider.calls["/token"] == 2

    def test_a_provider_without_rotation(self, provider: DeviceProvider) -> None:
        """It answers without a refresh token: the old one stays."""
        provider.lifetime = 0.0
        logged_in(provider)
        provider.answers.append({"refresh_token": None})
        lamina.LoginToken(TARGET)()
        kept = login.find(TARGET)
        assert kept is not None
        assert kept.refresh_token == "refresh1"

    def test_while_the_provider_is_away_the_token_counts_until_it_ends(
        self, provider: DeviceProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = logged_in(provider)
        login.keep(replace(kept, obtained=time.time() - 1000, expires=time.time() + 30), TARGET)
        provider.answers.append(503)
        token = lamina.LoginToken(TARGET)
        assert [token(), token()] == [kept.token] * 2
        assert provider.calls["/token"] == 2, "it is not asked for each call"
        monkeypatch.setattr(renewal, "RETRIED_SECONDS", 0.0)
        assert token() == JWT.format("token2"), "it is there again"

    def test_threads_do_not_ask_one_after_the_other_while_the_provider_is_away(self, provider: DeviceProvider) -> None:
        """Each of them could wait for it for ten seconds."""
        kept = logged_in(provider)
        login.keep(replace(kept, obtained=time.time() - 1000, expires=time.time() + 30), TARGET)
        provider.answers.extend([503] * 4)
        before, token, found = provider.calls["/token"], lamina.LoginToken(TARGET), list[str]()
        with locked():
            threads = [threading.Thread(target=lambda: found.append(token())) for _ in range(4)]
            for thread in threads:
                thread.start()
        for thread in threads:
            thread.join()
        assert found == [kept.token] * 4
        assert provider.calls["/token"] - before == 1

    def test_what_has_ended_says_how_to_log_in_again(self, provider: DeviceProvider) -> None:
        provider.lifetime = 0.0
        logged_in(provider)
        provider.answers.append("invalid_grant")
        words = f"the provider refuses to renew it .invalid_grant.*; log in again: lamina login {provider.url} --target"
        with pytest.raises(lamina.UnauthenticatedError, match=words) as caught:
            lamina.LoginToken(TARGET)()
        assert "refresh1" not in str(caught.value)

    def test_without_a_login(self) -> None:
        words = f"no login is kept for {TARGET}: lamina login ISSUER --target {TARGET}"
        with pytest.raises(lamina.UnauthenticatedError, match=words):
            lamina.LoginToken(TARGET)()


class TestCommandLine:
    def test_login_and_logout(self, provider: DeviceProvider, folder: Path) -> None:
        cli = InProcess(TARGET)
        said = cli("login", provider.url).stderr
        assert f"lamina: open {provider.url}/activate in a browser, and confirm the code ABCD-EFGH\n" in said
        assert f"lamina: logged in for {TARGET}: the token ends " in said
        assert JWT.format("token1") not in said
        assert f"forgot the login at {provider.url} for {TARGET}" in cli("logout").stderr
        assert files(folder) == []
        assert f"no login is kept for {TARGET}" in cli("logout", code=4).stderr

    @pytest.mark.parametrize(
        ("arguments", "environment", "is_used"),
        [
            ([], {}, True),
            (["--target", "other.example"], {}, False),
            ([], {"LAMINA_TOKEN": "t0ken"}, False),
            (["--token-file", "TOKEN"], {}, False),
        ],
    )
    def test_it_is_used_for_its_target_if_there_is_no_other_token(
        self,
        provider: DeviceProvider,
        arguments: list[str],
        environment: dict[str, str],
        is_used: bool,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("TOKEN").write_text("of-the-file", encoding="utf-8")
        InProcess(TARGET)("login", provider.url)
        tokens: list[Any] = []

        def refuse(**options: Any) -> lamina.Client:
            tokens.append(options.get("token"))
            raise lamina.UnavailableError("not in this test")

        monkeypatch.setattr(lamina, "connect", refuse)
        InProcess(TARGET)("log", "config", *arguments, code=5, **environment)
        assert [isinstance(token, lamina.LoginToken) for token in tokens] == [is_used]

    def test_a_refused_login(self, provider: DeviceProvider) -> None:
        provider.device = {"error": "invalid_client"}
        said = InProcess(TARGET)("login", provider.url, "--client-id", "unknown", code=1).stderr
        assert "refuses to begin a login for the client 'unknown': invalid_client" in said


async def test_a_login_lets_its_person_in(provider: DeviceProvider, sdk: Sdk) -> None:
    """From the provider to a closed server that trusts it, with the SDK and the command line."""
    people = People()
    admin = people.admin()
    people.grant("oidc:ada", "writer", "shop/**")
    with Provider() as signing:
        people.values["issuers/corp"] = signing.issuer()
        provider.make_token = lambda _number: signing.token(sub="ada")
        async with closed(MemoryStore(), people) as server:
            cli = InProcess(server.target)
            cli.environment = {"LAMINA_TARGET": server.target}
            await beside_all(cli, "login", provider.url)
            assert (await beside_all(cli, "whoami")).splitlines() == ["oidc:ada", "writer  shop/**"]
            await beside_all(cli, "set", "shop/prod", "timeout:=30", "--create")
            client = sdk.connect(server.target, token=lamina.LoginToken(server.target), tls=False)
            cfg = await beside(sdk, client.config, "shop/prod")
            assert cfg["timeout"] == 30
            assert (await server.wire(admin).get("shop/prod")).author == "oidc:ada"


async def test_completion_waits_for_no_login(provider: DeviceProvider) -> None:
    """A login that is due is used as it is: its provider may be away, and the person waits for the shell."""
    people = People()
    people.grant("oidc:ada", "writer", "shop/**")
    with Provider() as signing:
        people.values["issuers/corp"] = signing.issuer()
        provider.make_token = lambda _number: signing.token(sub="ada")
        async with closed(MemoryStore(), people) as server:
            due = time.time() + 1
            login.keep(replace(login.begin(provider.url).wait(), expires=due, obtained=due - 300), server.target)
            asked = provider.calls["/token"]
            cli = InProcess(server.target)
            cli.environment = {"_LAMINA_LINE": "lamina\nget\n--timeout\n30\ns", "LAMINA_TARGET": server.target}
            cli.environment["_LAMINA_COMPLETE"] = "zsh_complete"
            assert (await beside_all(cli)).strip() == ""
            assert provider.calls["/token"] == asked
            del cli.environment["_LAMINA_COMPLETE"]
            await beside_all(cli, "set", "shop/prod", "a=1", "--create")
            assert provider.calls["/token"] == asked + 1, "it was due"
            cli.environment["_LAMINA_COMPLETE"] = "zsh_complete"
            assert await beside_all(cli) == "plain\tshop/prod\t\n"


async def beside_all(cli: InProcess, *arguments: str) -> str:
    """Run a command in a thread: the server runs on this event loop."""
    return await asyncio.to_thread(cli.out, *arguments)
