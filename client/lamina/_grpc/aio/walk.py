"""Walks a config's hash chain over a watch's stream."""

from lamina._grpc.aio.runner import StreamRunner
from lamina._grpc.aio.shell import Shell
from lamina._mapping.entries import Entries
from lamina._streams.verify import ChainWalk
from lamina._streams.watch import WatchEnded
from lamina.errors import DeadlineError
from lamina.records import Version


async def walk_chain(shell: Shell, base: Entries) -> Version:
    """Walk a config's hash chain up to the version that it stands on, and return that version's header.

    A long chain takes longer than a verb's `timeout`, so here the timeout limits the server's silence.
    """
    walk = ChainWalk(shell.session, base)
    runner = StreamRunner(shell, walk.stream, shell.session.timeout_seconds)
    try:
        while (version := await runner.run(walk.step())) is None:
            pass
    except WatchEnded:
        raise DeadlineError(f"{walk.place}; the server was silent for too long") from None
    finally:
        await runner.close()
    return version
