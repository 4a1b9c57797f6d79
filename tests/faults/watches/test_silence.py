"""A server that falls silent is left for another one; the long forms are in `make torture ARGS="--only watch"`."""

import pytest

from tests.faults.watches.silence import NOTICED_SECONDS, frozen
from tests.support.postgres import Postgres


@pytest.mark.postgres
async def test_a_frozen_server_is_noticed_and_left(postgres: Postgres) -> None:
    """P14: in less than 20 s, by both SDKs' watches and by a bare stream with its options. Waits for 10 to 15 s."""
    url = postgres.new_database()
    seconds = await frozen(url)
    assert seconds.sdk_seconds < NOTICED_SECONDS
    assert seconds.aio_seconds < NOTICED_SECONDS
    assert seconds.stub_seconds < NOTICED_SECONDS
