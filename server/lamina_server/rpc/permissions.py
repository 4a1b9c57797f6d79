"""What each method needs, and the decision who may call it. Knows parsed requests, and no gRPC.

The way of a call: who calls (access/), parse, decide (here), and only then the method. So a caller
without a credential learns nothing, not even whether its request can be parsed; and no room below
rpc/ sees a request that its caller may not make, not even to look up its request id.

METHODS has a line for each method of each service. A method without a line stops the start.

What a caller may not read looks as if it did not exist. This is how: the request goes on with the
name of a config that cannot exist (see HiddenName) in the place of the forbidden one. So the answer,
the statements to the database and the time are those of an absent config, without a rule for each
method. Two things follow:

- A watch of a forbidden config waits for its version 1, and is asked to begin anew when its caller
  gets the right to read it (see revocation.py).
- Who may not write hears NOT_ALLOWED, whether the config exists or not.

A reader of a fork sees the name, version and hash of its source, even without a right to read the
source: they are part of the fork's header and of its hash, so it could not be verified without them.
Who forks a config gives its name to the readers of the fork.

It is decided when the request has been parsed, and anew if the access has changed when an answer is
sent, or when a write is handed to the writer (see decision.py). A write that waits for the writer is
written, as if it had come a moment earlier. Watches are decided anew when the access changes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from enum import Enum
from operator import attrgetter
from typing import Any, Final

from lamina_server.access.live import LiveAccess
from lamina_server.domain.access import RESERVED, Access, Caller, HiddenName, Role, Visible
from lamina_server.domain.errors import Reason, ServerError
from lamina_server.rpc.transport import UnsafeError


class Need:
    """A role on the config that a field of the parsed request names."""

    def __init__(self, role: Role, field: str) -> None:
        self.role = role
        self._field = field
        self.config_of = attrgetter(field)

    def decide(self, access: Access, caller: Caller, request: Any) -> Any:
        """Return the request, in which a config that may not be read is hidden. Raise NOT_ALLOWED."""
        config = self.config_of(request)
        if access.rights(caller, config).role >= self.role:
            return request
        if self.role is Role.READER:
            return _with(request, self._field, HiddenName.of(config))
        raise not_allowed(caller, self.role, config)


class Listing:
    """Any known caller. The request gets the configs that its caller may read into a field."""

    def __init__(self, field: str) -> None:
        self._field = field

    def decide(self, access: Access, caller: Caller, request: Any) -> Any:
        """Return the request with what the caller may see."""
        return _with(request, self._field, Visible(access, caller))


class Special(Enum):
    """A line of a method that nobody's rights decide."""

    PUBLIC = "anybody may call it, without a credential"
    NOT_SERVED = "it is not there: the library has a method without content, and would log each call as a bug"


Line = tuple[Need | Listing, ...]

KNOWN: Final[Line] = ()
"""Any known caller: on a closed server, one with a credential."""

METHODS: Final[Mapping[str, Line | Special]] = {
    "lamina.v1.ConfigService/Commit": (Need(Role.WRITER, "command.config"),),
    "lamina.v1.ConfigService/RevertConfig": (Need(Role.WRITER, "command.config"),),
    "lamina.v1.ConfigService/ForkConfig": (Need(Role.WRITER, "command.target"), Need(Role.READER, "command.source")),
    "lamina.v1.ConfigService/GetVersion": (Need(Role.READER, "config"),),
    "lamina.v1.ConfigService/ListVersions": (Need(Role.READER, "config"),),
    "lamina.v1.ConfigService/DiffVersions": (Need(Role.READER, "config"),),
    "lamina.v1.ConfigService/GetKeyHistory": (Need(Role.READER, "config"),),
    "lamina.v1.ConfigService/WatchKeyHistory": (Need(Role.READER, "config"),),
    "lamina.v1.ConfigService/ListConfigs": (Listing("visible"),),
    "lamina.v1.ConfigService/ListSecretKeys": (Need(Role.READER, "config"),),
    "lamina.v1.ConfigService/GetServerInfo": KNOWN,
    "lamina.v1.ConfigService/WhoAmI": KNOWN,
    "lamina.v1.ConfigService/CheckAccess": (Need(Role.ADMIN, "config"),),
    # Orchestrators ask for health, and have no credential.
    "grpc.health.v1.Health/Check": Special.PUBLIC,
    "grpc.health.v1.Health/List": Special.NOT_SERVED,
    "grpc.health.v1.Health/Watch": Special.PUBLIC,
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": KNOWN,
}
"""What each method needs, by its full name."""


class Permissions:
    """Decides which requests may be carried out. Lives on the event loop."""

    def __init__(self, access: LiveAccess) -> None:
        self._access = access

    def decide(self, method: str, request: Any, caller: Caller) -> Any:
        """Return a parsed request as its caller may make it.

        What the caller may not read is hidden in it. Raises NOT_ALLOWED if the caller may not make it at all.
        """
        if not self._access.is_open:
            line = METHODS[method]
            assert not isinstance(line, Special)
            for need in line:
                request = need.decide(self._access.current, caller, request)
        return request


def config_of(method: str, request: Any) -> str:
    """Return the config that a request is about, the one that it writes to first; empty if it names none."""
    return next(configs_of(method, request), "")


def configs_of(method: str, request: Any) -> Iterator[str]:
    """Yield the configs that a request names."""
    return (need.config_of(request) for need in _needs(method))


def hidden(method: str, request: Any, decided: Any) -> Iterator[str]:
    """Yield the configs of a request that were hidden when it was decided."""
    for need in _needs(method):
        if isinstance(need.config_of(decided), HiddenName):
            yield need.config_of(request)


def _needs(method: str) -> Iterator[Need]:
    line = METHODS[method]
    return (need for need in (line if isinstance(line, tuple) else ()) if isinstance(need, Need))


def check_lines(methods: Iterable[str]) -> None:
    """Raise UnsafeError if any of these methods, by their full names, has no line in METHODS."""
    missing = sorted(method for method in methods if method not in METHODS)
    if missing:
        raise UnsafeError(
            f"nothing says who may call {', '.join(missing)}: add a line to METHODS in lamina_server/rpc/permissions.py"
        )


def not_allowed(caller: Caller, role: Role, config: str) -> ServerError:
    """Return the refusal of a caller who lacks a role on a config. It says nothing about the config."""
    needed = (Role.ADMIN if config.startswith(RESERVED) else role).name.lower()
    text = f"this needs the role {needed} on {config!r}, which {caller.principal!r} does not have: ask an admin for it"
    return ServerError(Reason.NOT_ALLOWED, text)


def _with(request: Any, field: str, value: Any) -> Any:
    """Return a copy of a request with another value in a field, such as "command.source"."""
    name, _, rest = field.partition(".")
    return replace(request, **{name: _with(getattr(request, name), rest, value) if rest else value})
