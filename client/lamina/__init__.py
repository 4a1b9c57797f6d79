"""Lamina: configuration that remembers every version. `lamina.connect()` is for threads, `lamina.aio` for asyncio.

A name is imported from its module on first use. So importing Lamina is cheap, `connect` loads gRPC, and a client that
is not used is never loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina import aio
    from lamina._grpc.tls import TLS
    from lamina._live.state import LiveState
    from lamina._mapping.secret import Secret
    from lamina._mapping.snapshot import Snapshot
    from lamina._mapping.values import Value
    from lamina._provenance.log_filter import ProvenanceFilter
    from lamina._settings.bound import Bound
    from lamina.bundle import Bundle, open  # noqa: A004 - as `gzip.open`
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
        SettingsError,
        UnauthenticatedError,
        UnavailableError,
    )
    from lamina.records import MISSING, Change, ConfigInfo, Conflict, KeyChange, ServerInfo, Version, VersionChanges
    from lamina.sync import Client, Config, Live, Watch, connect

__all__ = [
    "MISSING",
    "TLS",
    "Bound",
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
    "ProvenanceFilter",
    "Secret",
    "ServerInfo",
    "SettingsError",
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

_MODULES = {
    "_grpc.tls": ("TLS",),
    "_live.state": ("LiveState",),
    "_mapping.secret": ("Secret",),
    "_mapping.snapshot": ("Snapshot",),
    "_mapping.values": ("Value",),
    "_provenance.log_filter": ("ProvenanceFilter",),
    "_settings.bound": ("Bound",),
    "bundle": ("Bundle", "open"),
    "records": ("MISSING", "Change", "ConfigInfo", "Conflict", "KeyChange", "ServerInfo", "Version", "VersionChanges"),
    "sync": ("Client", "Config", "Live", "Watch", "connect"),
}
"""The module of each name. Names that end with Error are in `errors`; `aio` is a module itself."""


if not TYPE_CHECKING:  # otherwise a type checker would accept any name

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "aio":
            return import_module("lamina.aio")
        module = next((module for module, names in _MODULES.items() if name in names), "errors")
        value = globals()[name] = getattr(import_module(f"lamina.{module}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
