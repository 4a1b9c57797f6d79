"""Lamina: configuration that remembers every version. `lamina.connect()` is for threads, `lamina.aio` for asyncio.

A name is imported from its module on first use. So importing Lamina is cheap, `connect` loads gRPC, and a client that
is not used is never loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina import aio, login
    from lamina._credentials import TokenFile
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
        VersionCompactedError,
    )
    from lamina.login import LoginToken
    from lamina.records import (
        COMPACTED,
        MISSING,
        AccessCheck,
        Change,
        ConfigInfo,
        Conflict,
        Grant,
        KeyChange,
        ServerInfo,
        Version,
        VersionChanges,
        WhoAmI,
    )
    from lamina.sync import Client, Config, Live, Watch, connect

__all__ = [
    "COMPACTED",
    "MISSING",
    "TLS",
    "AccessCheck",
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
    "Grant",
    "InvalidError",
    "KeyChange",
    "LaminaError",
    "LimitError",
    "Live",
    "LiveState",
    "LoginToken",
    "NotFoundError",
    "PermissionDeniedError",
    "ProvenanceFilter",
    "Secret",
    "ServerInfo",
    "SettingsError",
    "Snapshot",
    "TokenFile",
    "UnauthenticatedError",
    "UnavailableError",
    "Value",
    "Version",
    "VersionChanges",
    "VersionCompactedError",
    "Watch",
    "WhoAmI",
    "aio",
    "connect",
    "login",
    "open",
]

_MODULES = {
    "_credentials": ("TokenFile",),
    "_grpc.tls": ("TLS",),
    "_live.state": ("LiveState",),
    "_mapping.secret": ("Secret",),
    "_mapping.snapshot": ("Snapshot",),
    "_mapping.values": ("Value",),
    "_provenance.log_filter": ("ProvenanceFilter",),
    "_settings.bound": ("Bound",),
    "login": ("LoginToken",),
    "bundle": ("Bundle", "open"),
    "records": (
        "COMPACTED",
        "MISSING",
        "AccessCheck",
        "Change",
        "ConfigInfo",
        "Conflict",
        "Grant",
        "KeyChange",
        "ServerInfo",
        "Version",
        "VersionChanges",
        "WhoAmI",
    ),
    "sync": ("Client", "Config", "Live", "Watch", "connect"),
}
"""The module of each name. Names that end with Error are in `errors`."""

_PUBLIC_MODULES = ("aio", "login")
"""Modules among the names."""


if not TYPE_CHECKING:  # otherwise a type checker would accept any name

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in _PUBLIC_MODULES:
            return import_module(f"lamina.{name}")
        module = next((module for module, names in _MODULES.items() if name in names), "errors")
        value = globals()[name] = getattr(import_module(f"lamina.{module}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
