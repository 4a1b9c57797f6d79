"""Lamina: configuration that remembers every version. `lamina.connect()` is for threads, `lamina.aio` for asyncio."""

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
from lamina.provenance import ProvenanceFilter
from lamina.records import MISSING, Change, ConfigInfo, Conflict, KeyChange, Version, VersionChanges
from lamina.sync import Client, Config, Live, Watch, connect
from lamina.values import Value

__all__ = [
    "MISSING",
    "TLS",
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
    "Snapshot",
    "UnauthenticatedError",
    "UnavailableError",
    "Value",
    "Version",
    "VersionChanges",
    "Watch",
    "aio",
    "connect",
]
