from collections.abc import AsyncIterator

import pytest

from tests.server.commits.desk import Desk


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    await desk.committer.stop()
    await desk.readers.close()
