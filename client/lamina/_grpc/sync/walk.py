"""Walks a config's hash chain over a watch's stream."""

from lamina._grpc.sync.runner import StreamRunner
from lamina._grpc.sync.shell import Shell
from lamina._mapping.entries import Entries
from lamina._streams.verify import ChainWalk
from lamina._streams.watch import Receiver, WatchEnded
from lamina.errors import DeadlineError
from lamina.records import Version


def walk_chain(shell: Shell, base: Entries, then: Receiver | None = None) -> Version:
    """Walk a config's hash chain up to the version that it stands on, and return that version's header.

    `then` receives the intact versions. A long chain takes longer than a verb's `timeout`, so here the timeout limits
    the server's silence.
    """
    walk = ChainWalk(shell.session, base, then)
    runner = StreamRunner(shell, walk.stream, shell.session.timeout_seconds)
    try:
        while (version := runner.run(walk.step())) is None:
            pass
    except WatchEnded:
        raise DeadlineError(f"{walk.place}; the server was silent for too long") from None
    finally:
        runner.close()
    return version
