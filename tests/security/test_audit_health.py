"""The health service tells of an audit that cannot be written, and of one that can be written again."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.audit.file import AuditFile
from lamina_server.store.memory import MemoryStore
from tests.server.bare_client import Wire, refusal, running

CONFIG = "shop/prod"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@asynccontextmanager
async def audited(path: Path, **settings: Any) -> AsyncIterator[Wire]:
    with closing(AuditFile(path)) as file:
        async with running(MemoryStore(), audit_file=file, **settings) as wire:
            yield wire


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@asynccontextmanager
async def statuses(wire: Wire, service: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Yield what waits for the next status of a service."""
    call = HealthStub(wire.channel).Watch(health_pb2.HealthCheckRequest(service=service))

    async def following() -> int:
        status: int = (await call.read()).status
        return status

    yield following
    call.cancel()


def put_in_its_place(path: Path) -> None:
    """Remove the file, and put a folder in its place."""
    path.unlink()
    path.mkdir()


async def test_readiness_tells_of_an_audit_that_cannot_be_written_until_it_can(path: Path) -> None:
    """A folder in the place of the file, which was removed: nothing is written and revealed."""
    async with audited(path) as wire, statuses(wire, "readiness") as readiness, statuses(wire, "audit") as audit:
        assert [await readiness(), await audit()] == [SERVING, SERVING]
        await asyncio.to_thread(put_in_its_place, path)
        assert [await readiness(), await audit()] == [NOT_SERVING, NOT_SERVING]
        assert "cannot write its audit" in (await wire.stub.GetServerInfo(pb.GetServerInfoRequest())).not_ready
        assert "cannot write its audit" in (await refusal(wire.commit(CONFIG, {"a": 1}))).text
        await asyncio.to_thread(path.rmdir)
        assert [await readiness(), await audit()] == [SERVING, SERVING]
        await wire.commit(CONFIG, {"a": 1})
    told = [json.loads(line) for line in (await asyncio.to_thread(path.read_text)).splitlines()]
    assert [line["event"] for line in told] == ["resumed", "write", "written"]
    assert told[0]["lines_lost"] == 1


async def test_a_server_that_writes_nevertheless_is_ready_and_its_audit_is_not(path: Path) -> None:
    async with audited(Path("/dev/full"), audit_best_effort=True) as wire, statuses(wire, "audit") as audit:
        assert await audit() == SERVING
        await wire.commit(CONFIG, {"a": 1})
        assert await audit() == NOT_SERVING
        async with statuses(wire, "readiness") as readiness:
            assert await readiness() == SERVING
