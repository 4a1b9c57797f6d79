"""Commits without gRPC, and tells callgrind when to count: `python -m tests.benchmarks.where.counting DATABASE`.

Prints as JSON of how many commits each count is.
"""

import asyncio
import gc
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server import app
from lamina_server.cache.encoded import EncodedChanges
from lamina_server.cli.serve import COLLECTED_AFTER_OBJECTS
from lamina_server.commits import committer, proposals, writer
from lamina_server.commits.group import Group, GroupResult
from lamina_server.domain.planning import Author
from lamina_server.domain.records import RequestKey
from lamina_server.rpc.handlers import SERVICE, ServiceHandler
from lamina_server.settings import Settings
from lamina_server.wire import encode, parse
from lamina_server.wire.codec import WireCodec
from tests.benchmarks import ours

CALLERS = 64
ROUNDS = 4
KEYS = 1_000
WHOLE_OF_ONE, WHOLE_OF_MANY = "one", "many"


class _Context:
    """What the handler asks gRPC for."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        return self._data

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return (("lamina-author", "ann"),)

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


class _Counting:
    """Calls the handler as gRPC would, and switches the counting on and off."""

    def __init__(self) -> None:
        self.commits: dict[str, int] = {}
        self._handlers: list[ServiceHandler] = []
        self._proposals: list[proposals.Proposals] = []
        self._is_counting_groups = False
        self._callers = [self._caller_of(number) for number in range(CALLERS)]

    def catch(self) -> None:
        """Learn the parts of the application while it is made."""
        made = ((app, "ServiceHandler", self._handlers), (committer, "Proposals", self._proposals))
        for owner, name, caught in made:
            setattr(owner, name, _caught(getattr(owner, name), caught))
        setattr(committer, "Writer", self._writer_class())  # noqa: B010 - mypy refuses to assign to a class

    async def run(self, settings: Settings) -> None:
        """Count everything."""
        await self._call(ours.Writer("c", iter(map(ours.key, range(KEYS))), base=0, width=KEYS))
        for caller in self._callers:
            await self._call(caller)
        one = self._callers[0]
        await self._counted_async(WHOLE_OF_ONE, lambda: self._repeat(one, CALLERS), CALLERS)
        await self._counted_async(WHOLE_OF_MANY, self._all, CALLERS * ROUNDS)
        self._count_functions(settings)
        self._is_counting_groups = True
        await asyncio.gather(*(self._call(each) for each in self._callers))

    def _count_functions(self, settings: Settings) -> None:
        """Call the functions of the event loop once more: they change nothing that a restart does not undo."""
        data = [_data(each) for each in self._callers]
        author, codec, proposed = Author("ann"), WireCodec(), self._proposals[0]
        requests = self._counted("parse", lambda each: parse.commit(each, author, settings), data)
        made = self._counted(
            "proposal", lambda r: proposed.add(RequestKey("", r.request_id, r.digest), r.command), requests
        )
        assert all(each.changes for each in made)
        proposed.restart()
        self._counted("encode", lambda proposal: EncodedChanges.of(proposal.changes, codec), made)
        self._counted(
            "reply", lambda proposal: encode.commit_response(proposal.outcome.reply, proposal.outcome.header), made
        )
        self._counted("nothing", lambda _: None, made)
        answer = encode.commit_response(made[-1].outcome.reply, made[-1].outcome.header)
        self._counted("callers", lambda each: (_data(each), pb.CommitResponse.FromString(answer)), self._callers)

    def _counted(self, name: str, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Sequence[Any]:
        self._switch_on()
        results = [function(each) for each in arguments]
        self._switch_off(name, len(arguments))
        return results

    async def _counted_async(self, name: str, run: Callable[[], Awaitable[None]], commits: int) -> None:
        self._switch_on()
        await run()
        self._switch_off(name, commits)

    async def _all(self) -> None:
        await asyncio.gather(*(self._repeat(each, ROUNDS) for each in self._callers))

    async def _repeat(self, caller: ours.Writer, times: int) -> None:
        for _ in range(times):
            await self._call(caller)

    async def _call(self, caller: ours.Writer) -> None:
        details: Any = SimpleNamespace(method=f"/{SERVICE.full_name}/Commit")
        handler: Any = self._handlers[0].service(details)
        data = await handler.stream_unary(None, _Context(_data(caller)))
        caller.learn(pb.CommitResponse.FromString(data))

    def _caller_of(self, number: int) -> ours.Writer:
        return ours.Writer("c", iter([ours.key(number)] * KEYS), base=1)

    def _writer_class(self) -> type[writer.Writer]:
        counting = self

        class CountedWriter(writer.Writer):
            def __init__(self, *args: Any, on_written: Callable[[Group, GroupResult], None], **options: Any) -> None:
                def written(group: Group, result: GroupResult) -> None:
                    if not counting.is_counted(group):
                        on_written(group, result)
                        return
                    counting._switch_off("writer", len(group.submissions))
                    counting._switch_on()
                    on_written(group, result)
                    counting._switch_off("finish", len(group.submissions))

                super().__init__(*args, on_written=written, **options)

            def write(self, group: Group) -> None:
                if counting.is_counted(group):
                    counting._switch_on()
                super().write(group)

        return CountedWriter

    def is_counted(self, group: Group) -> bool:
        """Return whether this is a group of nearly all callers; the first of them makes one alone."""
        return self._is_counting_groups and len(group.submissions) > CALLERS // 2

    def _switch_on(self) -> None:
        _control("-z")
        _control("-i", "on")

    def _switch_off(self, name: str, commits: int) -> None:
        _control("-i", "off")
        _control("-d", name)
        self.commits[name] = commits


def _data(caller: ours.Writer) -> bytes:
    return caller.request().SerializeToString()


def _control(*arguments: str) -> None:
    subprocess.run(["callgrind_control", *arguments, str(os.getpid())], check=True, stdout=subprocess.DEVNULL)


def _caught(kind: Any, caught: list[Any]) -> Any:
    class Caught(kind):  # type: ignore[misc]  # of any class
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            caught.append(self)

    return Caught


async def _run(settings: Settings) -> Mapping[str, int]:
    counting = _Counting()
    counting.catch()
    async with app.serving(settings):
        await counting.run(settings)
    return counting.commits


def main() -> None:
    """Count, and print as JSON of how many commits each count is."""
    gc.set_threshold(COLLECTED_AFTER_OBJECTS, *gc.get_threshold()[1:])  # as `lamina-server serve` does
    print(json.dumps(asyncio.run(_run(Settings(database=sys.argv[1], listen="localhost:0")))), flush=True)


if __name__ == "__main__":
    main()
