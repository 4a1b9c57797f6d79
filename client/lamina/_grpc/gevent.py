"""gevent's monkey patching: let gRPC wait as gevent does, or refuse what cannot work.

gRPC waits in C, where gevent cannot switch to another greenlet: the thread that follows a config, which gevent turns
into a greenlet, would stop the whole process. gRPC has support for gevent that has to be switched on before a channel
is opened. gevent itself is never imported here.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from lamina.errors import InvalidError

Place = TypeVar("Place")
ChannelT = TypeVar("ChannelT")


def is_patched() -> bool:
    """Return whether gevent has replaced this process's threads by greenlets."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def guarded(open_channel: Callable[[Place], ChannelT]) -> Callable[[Place], ChannelT]:
    """Return `open_channel`, switching gRPC's support for gevent on before the first channel where it is needed.

    The channel function raises InvalidError if the process was patched after this call: the client then has real locks,
    and a greenlet that waits for one would stop all others.
    """
    was_patched = is_patched()

    def open_guarded(place: Place) -> ChannelT:
        if is_patched():
            if not was_patched:
                raise InvalidError(
                    "gevent has patched this process after this client was made: connect after monkey.patch_all(), "
                    "under gunicorn in the worker (no --preload, or connect when the first request comes)"
                )
            _switch_on()
        return open_channel(place)

    return open_guarded


def refuse_asyncio() -> None:
    """Raise InvalidError under gevent: grpc.aio has no support for it, and would wait for ever."""
    if is_patched():
        raise InvalidError("lamina.aio does not work under gevent's monkey patching: use lamina.connect, which does")


@cache
def _switch_on() -> None:
    from grpc.experimental.gevent import init_gevent  # noqa: PLC0415 - loads gevent, which few have

    init_gevent()
