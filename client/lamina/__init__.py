"""Lamina: configuration that remembers every version. `lamina.connect()` is for threads, `lamina.aio` for asyncio."""

import typing

from lamina import aio
from lamina.channels import TLS
from lamina.draft import Snapshot
from lamina.errors import (
    ConflictError,
    CursorError,
    DataLossError,
    DeadlineError,
    ExistsError,
    InvalidError,
    LaminaError,
    LimitError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from lamina.live import LiveState
from lamina.records import MISSING, Change, ConfigInfo, Conflict, KeyChange, Version, VersionChanges
from lamina.sync import Client, Config, Live, Watch, connect
from lamina.values import Value

if typing.TYPE_CHECKING:
    from lamina.bundle import Bundle, open  # noqa: A004 - as `gzip.open`
else:
    # What few need is imported by who needs it.
    _LAZY = {"Bundle": "lamina.bundle", "open": "lamina.bundle"}

    def __getattr__(name):  # noqa: ANN001, ANN202
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415

        return getattr(import_module(_LAZY[name]), name)

    def __dir__():  # noqa: ANN202
        return sorted({*globals(), *_LAZY})


__all__ = [
    "MISSING",
    "TLS",
    "Bundle",
    "Change",
    "Client",
    "Config",
    "ConfigInfo",
    "Conflict",
    "ConflictError",
    "CursorError",
    "DataLossError",
    "DeadlineError",
    "ExistsError",
    "InvalidError",
    "KeyChange",
    "LaminaError",
    "LimitError",
    "Live",
    "LiveState",
    "NotFoundError",
    "PermissionDeniedError",
    "Snapshot",
    "UnauthenticatedError",
    "UnavailableError",
    "Value",
    "Version",
    "VersionChanges",
    "Watch",
    "aio",
    "connect",
    "open",
]
