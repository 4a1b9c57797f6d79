"""What a log with the local variables of each frame would show of a secret: nothing."""

import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

import lamina
from lamina import testing
from tests.client.conftest import sdk
from tests.client.sdk import Sdk, listed, of

__all__ = ["sdk"]

CANARY = "canary-b7d2"


@pytest.fixture
def server() -> Iterator[testing.Server]:
    with testing.server() as made:
        yield made


def _locals(error: BaseException) -> str:
    """Return all local variables of this library's frames, also those of the errors before it."""
    shown: list[str] = []
    at: traceback.TracebackException | None = traceback.TracebackException.from_exception(error, capture_locals=True)
    while at is not None:
        shown += [str(at), *(str(frame.locals) for frame in at.stack if "/client/lamina/" in frame.filename)]
        at = at.__cause__ or at.__context__
    return "\n".join(shown)


@pytest.mark.parametrize(
    "method", ["Commit", "GetVersion", "DiffVersions", "GetKeyHistory", "RevertConfig", "ForkConfig"]
)
async def test_no_local_variable_of_an_error_holds_a_content(sdk: Sdk, server: testing.Server, method: str) -> None:
    server.set("app", {"pw": lamina.Secret(CANARY), "x": 1})
    server.set("app", {"x": 2})
    client = sdk.connect(server.target, timeout=0.3)
    cfg = await of(client.config("app"))
    cfg["pw"] = lamina.Secret(f"{CANARY}-2") if method == "Commit" else cfg["pw"]
    verbs: dict[str, Any] = {
        "Commit": cfg.commit,
        "GetVersion": lambda: cfg.at(1),
        "DiffVersions": lambda: cfg.diff(1),
        "GetKeyHistory": lambda: listed(cfg.history("pw")),
        "RevertConfig": lambda: cfg.revert(to=1),
        "ForkConfig": lambda: cfg.fork("copy"),
    }
    for failure in ({"reason": "NOT_ALLOWED"}, {"reason": "STORE_UNAVAILABLE", "times": 100}):
        server.fail_next(method, **failure)
        with pytest.raises(lamina.LaminaError) as refused:
            await of(verbs[method]())
        server.recover()
        assert CANARY not in _locals(refused.value)
        assert f"{CANARY}" not in repr(refused.value)


async def test_what_goes_wrong_with_bound_settings_shows_no_content(
    sdk: Sdk, server: testing.Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.set("app", {"pw": lamina.Secret(CANARY)})

    class Broken(BaseModel):
        pw: SecretStr

        def model_post_init(self, _context: Any) -> None:
            raise RuntimeError(self.pw.get_secret_value())

    live = await of(sdk.connect(server.target, cache_dir="").live("app"))
    with pytest.raises(lamina.SettingsError) as refused:
        live.bind(Broken)
    assert CANARY not in _locals(refused.value) + caplog.text
