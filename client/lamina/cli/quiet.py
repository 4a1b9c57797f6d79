"""gRPC's own lines on stderr, which are for its developers: not written unless somebody has asked for them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_VARIABLE: Final = "GRPC_VERBOSITY"


@contextmanager
def quiet_grpc() -> Iterator[None]:
    """Have gRPC write nothing if the block is what loads it, which is when it reads its variable.

    The variable is taken away again, since the commands that a verb starts have the same environment.
    """
    if _VARIABLE in os.environ:
        yield
        return
    os.environ[_VARIABLE] = "NONE"
    try:
        yield
    finally:
        del os.environ[_VARIABLE]
