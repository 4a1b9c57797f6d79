"""The decision on one call, which is made anew when the access changes while the call waits. Knows no gRPC.

A call may wait for much: a thread, the database, the key of a secret, room for its answer. So an answer is sent only
if its caller may have it then, and a write is handed to the writer only if its caller may make it then.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from lamina_server.access.authentication import Authentication
from lamina_server.audit.audit import NO_CALL
from lamina_server.domain.access import Access, Caller
from lamina_server.domain.errors import Reason, UnavailableError
from lamina_server.metrics.recorder import Recorder
from lamina_server.rpc import permissions
from lamina_server.rpc.permissions import Permissions
from lamina_server.rpc.service import Call


class Decision:
    """What the caller of a call may do with its parsed request.

    find     finds the caller of the call again
    request  as the caller may make it; set by `decide`
    """

    def __init__(
        self,
        authentication: Authentication,
        decisions: Permissions,
        find: Callable[[], Awaitable[Caller]],
        *,
        method: str,
        parsed: Any,
        call: Call,
        recorder: Recorder,
    ) -> None:
        self._authentication = authentication
        self._permissions = decisions
        self._find = find
        self._method = method
        self._parsed = parsed
        self._call = call
        self._recorder = recorder
        self._access = call.access
        self.request: Any = None

    @property
    def is_current(self) -> bool:
        """Return whether nothing has changed since it was made that could change it."""
        return self._authentication.is_still(self._call.caller, self._access)

    async def decide(self) -> Any:
        """Return the request as its caller may make it now.

        Raises NOT_ALLOWED if the caller may not make it, and a refusal of a credential that was revoked or has ended.
        """
        access = await self._found()
        if self._call.audit is not NO_CALL:
            self._call.audit.about(permissions.config_of(self._method, self._parsed))
        request = self._decided()
        if request is not self._parsed:
            for config in permissions.hidden(self._method, self._parsed, request):
                self._call.audit.refused(Reason.NOT_ALLOWED, config)
                self._recorder.error(Reason.NOT_ALLOWED)
        self._access, self.request = access, request
        return request

    async def holds(self) -> bool:
        """Return whether the caller may still make the same request, and reveal the same. Raises as `decide` does."""
        if self.is_current:
            return True
        access = await self._found()
        if self._decided() != self.request or self._reveals(access) != self._reveals(self._access):
            return False
        self._access = access
        return True

    async def confirm(self) -> None:
        """Raise TOO_SLOW if the caller may now make another request than before, else as `decide` does."""
        if not await self.holds():
            text = "the caller's access has changed meanwhile: call again"
            raise UnavailableError(Reason.TOO_SLOW, text, wrote_nothing=True)

    async def _found(self) -> Access:
        """Find the caller again, if anything has changed. Return the access that holds: nothing may wait after this."""
        if not self.is_current and await self._find() != self._call.caller:
            # Such as a token that now has another name, or another end.
            text = "the caller's credential has changed: call again; a watch, after your cursor"
            raise UnavailableError(Reason.TOO_SLOW, text, wrote_nothing=True)
        return self._authentication.access

    def _decided(self) -> Any:
        return self._permissions.decide(self._method, self._parsed, self._call.caller)

    def _reveals(self, access: Access) -> list[bool]:
        configs = permissions.configs_of(self._method, self._parsed)
        return [access.rights(self._call.caller, config).reveal for config in configs]
