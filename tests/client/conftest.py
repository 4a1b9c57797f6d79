"""The server that these tests talk to, and the two clients that they are run with."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.client.sdk import Sdk
from tests.support.server import config_name, server, target

__all__ = ["config_name", "sdk", "server", "target"]


@pytest.fixture(params=["sync", "aio"])
async def sdk(request: pytest.FixtureRequest) -> AsyncIterator[Sdk]:
    """One of the two clients, used in the same way; its connections are closed after the test."""
    made = Sdk(request.param)
    yield made
    await made.close()


@pytest.fixture
def client(sdk: Sdk, target: str) -> Any:
    """A client of the session's server."""
    return sdk.connect(target, author="ann")
