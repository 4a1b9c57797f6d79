"""The pytest plugin: the fixtures `lamina_server` and `lamina_config`. Loaded by every run of pytest beside an SDK.

So it is a package of its own, and imports nothing before a fixture is asked for: `lamina` would bring gRPC along.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lamina import Config
    from lamina.testing import Server


@pytest.fixture
def lamina_server(  # noqa: PLR0206 - ruff takes a fixture for a property
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator["Server"]:
    """A Lamina server in memory (`lamina.testing.Server`), empty, for this test alone; needs `lamina[server]`.

    Last-known-good files are in a folder of this test's, which LAMINA_CACHE_DIR names: another server on the same port
    has left none there.
    """
    from lamina import testing  # noqa: PLC0415 - see above

    folder = str(tmp_path / "lamina-cache")
    monkeypatch.setenv("LAMINA_CACHE_DIR", folder)
    with testing.server(cache_dir=folder) as server:
        yield server


@pytest.fixture
def lamina_config(lamina_server: "Server") -> "Config":
    """A `lamina.Config` named "app" on `lamina_server`: the empty draft that makes it with its first commit."""
    return lamina_server.connect().config("app", create=True)
