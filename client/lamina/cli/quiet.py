"""gRPC's own log lines on stderr, which are for its developers: written only if GRPC_VERBOSITY asks for them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_VARIABLE: Final = "GRPC_VERBOSITY"


@contextmanager
def quiet_grpc() -> Iterator[None]:
    """Turn gRPC's log off if gRPC is imported in the block: it reads its variable then.

    The variable is removed again, because commands that a verb starts inherit the environment.
    """
    if _VARIABLE in os.environ:
        yield
        return
    os.environ[_VARIABLE] = "NONE"
    try:
        yield
    finally:
        del os.environ[_VARIABLE]
