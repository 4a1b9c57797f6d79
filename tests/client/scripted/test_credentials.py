"""The token of a client: text, a file or a function; and what an error says of it. No repr, pickle or error has it."""

import functools
import logging
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina._credentials import Credential, credential
from lamina._grpc.connection import connection

CANARY = "lamina_canary_s3cret"


def refused(reason: str, text: str = "the server says why") -> lamina.LaminaError:
    kind = lamina.PermissionDeniedError if reason == "NOT_ALLOWED" else lamina.UnauthenticatedError
    return kind(text, reason=reason)


def get_token() -> str:
    return CANARY


async def get_token_later() -> str:
    return CANARY


def hand_over(function: Callable[[], Any]) -> Any:
    """Return an awaitable, although no `async` says so."""
    return function()


class Vault:
    def __call__(self) -> str:
        raise ValueError("the vault is sealed")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(f"{CANARY}\n", encoding="utf-8")
    return path


class TestTokenFile:
    def test_it_warns_once_if_others_may_read_it(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path.chmod(0o644)
        for _ in range(2):
            lamina.TokenFile(path)()
        assert [record.getMessage() for record in caplog.records] == [
            f"others than you may read the token in {path}: chmod 600 it, or make the token anew"
        ]
        caplog.clear()
        beside = path.with_name("private")
        beside.touch(mode=0o640)
        beside.write_text(CANARY, encoding="utf-8")
        lamina.TokenFile(beside)()
        assert not caplog.records

    def test_it_is_read_anew_when_it_has_changed(self, path: Path) -> None:
        file = lamina.TokenFile(path)
        assert file() == CANARY
        path.write_text("another", encoding="utf-8")
        assert file() == "another"
        beside = path.with_name("beside")  # as Kubernetes and Vault replace it, here with the same size and times
        beside.write_text("renewed", encoding="utf-8")
        os.utime(beside, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        beside.replace(path)
        assert file() == "renewed"

    def test_it_is_read_only_when_it_has_changed(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = lamina.TokenFile(path)
        assert file() == CANARY
        monkeypatch.setattr(Path, "read_text", lambda *_a, **_o: pytest.fail("it was read again"))
        assert file() == CANARY

    def test_a_pipe_is_read_once(self, caplog: pytest.LogCaptureFixture) -> None:
        reader, writer = os.pipe()
        os.write(writer, f"{CANARY}\n".encode())
        os.close(writer)
        try:
            file = lamina.TokenFile(f"/dev/fd/{reader}")
            assert file() == CANARY
            os.utime(reader, (0, 0))  # as if it was written after its times were read
            assert file() == CANARY
        finally:
            os.close(reader)
        assert not caplog.records

    @pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text(" \n")])
    def test_the_last_token_counts_while_there_is_none(
        self, path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        file = lamina.TokenFile(path)
        file()
        damage(path)
        with caplog.at_level(logging.WARNING, logger="lamina"):
            assert [file(), file()] == [CANARY, CANARY]
        assert len(caplog.records) == 1
        assert "the last token counts: TokenFile: " in caplog.text
        assert CANARY not in caplog.text
        path.write_text("renewed", encoding="utf-8")
        assert file() == "renewed"

    def test_a_file_that_never_had_one_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(lamina.InvalidError, match=r"TokenFile: cannot read .*/none: No such file"):
            lamina.TokenFile(tmp_path / "none")()
        (tmp_path / "empty").touch()
        with pytest.raises(lamina.InvalidError, match=r"TokenFile: .*/empty holds no token"):
            lamina.TokenFile(tmp_path / "empty")()

    def test_its_repr_and_its_pickle_have_the_path_alone(self, path: Path) -> None:
        file = lamina.TokenFile(path)
        file()
        assert repr(file) == f"lamina.TokenFile({str(path)!r})"
        assert CANARY.encode() not in pickle.dumps(file)
        assert pickle.loads(pickle.dumps(file))() == CANARY


class TestFunctions:
    def test_it_is_asked_for_each_call(self) -> None:
        tokens = iter(["first", "second"])
        ours = credential(lambda: next(tokens), awaits=False)
        assert [ours.present(), ours.present()] == ["first", "second"]

    async def test_asyncio_awaits_it(self) -> None:
        for function in (get_token, get_token_later, functools.partial(hand_over, get_token_later)):
            assert await credential(function, awaits=True).awaited() == CANARY

    def test_threads_take_no_coroutine(self) -> None:
        with pytest.raises(TypeError, match="token= takes a plain function here"):
            credential(get_token_later, awaits=False)
        with pytest.raises(lamina.UnauthenticatedError, match=r"returned an awaitable, which only lamina\.aio awaits"):
            credential(functools.partial(hand_over, get_token_later), awaits=False).present()

    @pytest.mark.parametrize(
        ("function", "words"),
        [
            (Vault(), "no token: the function of Vault of token= raised ValueError"),
            (lambda: None, "returned NoneType; a token is printable ASCII"),
            (lambda: "", "returned a text that is no token; a token is printable ASCII"),
            (lambda: f"{CANARY}\n", "returned a text that is no token"),
        ],
    )
    def test_an_error_names_it(self, function: Any, words: str) -> None:
        with pytest.raises(lamina.UnauthenticatedError, match=words) as caught:
            credential(function, awaits=False).present()
        assert CANARY not in "".join(traceback.format_exception(caught.value))

    async def test_what_it_raised_is_the_cause(self) -> None:
        with pytest.raises(lamina.UnauthenticatedError) as caught:
            await credential(Vault(), awaits=True).awaited()
        assert isinstance(caught.value.__cause__, ValueError)

    def test_it_is_not_called_before_the_first_call(self) -> None:
        made = connection("far.example", token=Vault(), tls=None, timeout=1.0, author=None)
        assert made.has_credential
        assert made.metadata == (), "the system's user is not the author of a caller with a token"


class TestHints:
    """An error says where the refused token came from: often it is another one than was meant."""

    def hint(self, ours: Credential, reason: str) -> str:
        error = ours.explained(refused(reason))
        assert CANARY not in str(error)
        return str(error).partition("the server says why")[2]

    def test_of_the_environment(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        monkeypatch.setenv("LAMINA_TOKEN_FILE", str(path))
        of_file = credential(None, awaits=False)
        assert self.hint(of_file, "BAD_CREDENTIALS") == f"; the token is from the file {path} (LAMINA_TOKEN_FILE)"
        monkeypatch.setenv("LAMINA_TOKEN", CANARY)
        assert self.hint(credential(None, awaits=False), "NOT_ALLOWED") == "; the token is from LAMINA_TOKEN"

    def test_of_an_argument(self, path: Path) -> None:
        assert self.hint(credential(CANARY, awaits=False), "BAD_CREDENTIALS") == "", "the user has just written it"
        file = credential(lamina.TokenFile(path), awaits=False)
        assert self.hint(file, "BAD_CREDENTIALS") == f"; the token is from the file {path}"
        function = credential(get_token, awaits=False)
        assert self.hint(function, "NOT_ALLOWED") == "; the token is from the function get_token of token="

    def test_of_a_token_that_did_not_arrive(self) -> None:
        hint = self.hint(credential(CANARY, awaits=False), "NO_CREDENTIALS")
        assert hint == "; this client has sent the token from token=: a proxy on the way may have removed it"

    def test_of_no_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.hint(credential(None, awaits=False), "NO_CREDENTIALS") == ""
        monkeypatch.setenv("LAMINA_TOKEN", "")
        assert self.hint(credential(None, awaits=False), "NO_CREDENTIALS") == "; LAMINA_TOKEN is set, but empty"

    def test_other_errors_stay_as_they_are(self) -> None:
        other = lamina.InvalidError("bad", reason="BAD_KEY")
        assert str(credential(get_token, awaits=False).explained(other)) == "bad"


def test_a_token_is_in_no_repr(path: Path) -> None:
    for token in (CANARY, lamina.TokenFile(path), get_token):
        assert CANARY not in repr(connection("a", token=token, tls=None, timeout=1.0, author=None))
        assert CANARY not in repr(credential(token, awaits=False))


@pytest.mark.parametrize("argument", ["author", "target"])
def test_a_token_is_no_name(argument: str) -> None:
    pasted = f"lamina_k3v9q2x7m4d1_{'canary' * 8}"
    with pytest.raises(lamina.InvalidError, match=f"^{argument}: looks like a token") as caught:
        lamina.connect(**{argument: pasted})  # type: ignore[arg-type]
    assert "canary" not in str(caught.value)
