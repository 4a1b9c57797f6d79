"""What stands before each method: who calls, and whether the caller may. Knows no method's meaning."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc

from lamina_server.access.authentication import Authentication
from lamina_server.audit.audit import NO_CALL, Audit, CallAudit
from lamina_server.domain.access import Caller
from lamina_server.domain.errors import Reason, UnavailableError
from lamina_server.rpc import permissions, transport
from lamina_server.rpc.permissions import Permissions
from lamina_server.rpc.rates import Rates
from lamina_server.rpc.revocation import Revocation
from lamina_server.rpc.service import Call
from lamina_server.rpc.watch.in_flight import Send

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


class Guard:
    """What stands before each method: who calls, and whether the caller may.

    revocation  ends watches whose caller may no longer
    """

    def __init__(
        self,
        authentication: Authentication,
        decisions: Permissions,
        revocation: Revocation,
        *,
        rates: Rates,
        audit: Audit,
    ) -> None:
        self._authentication = authentication
        self._permissions = decisions
        self._revocation = revocation
        self._rates = rates
        self._audit = audit

    async def caller(self, context: Context) -> Caller:
        """Return who calls. Raise NO_CREDENTIALS or BAD_CREDENTIALS if nobody knows."""
        metadata: Any = context.invocation_metadata() or ()
        certificate = transport.client_certificate(context) if self._authentication.needs_certificate else b""
        return await self._authentication.caller(metadata, certificate)

    def audit(self, method: str, context: Context) -> CallAudit:
        """Return what tells of a call of a method."""
        return self._audit.of_call(method, context.peer())

    async def call(self, context: Context, audit: CallAudit) -> Call:
        """Return a call that may go on. Raise a refusal of its credential, or RateError."""
        access = self._authentication.access  # before the caller is looked for, which may take a while
        caller = await self.caller(context)
        audit.known(caller)
        return Call(caller, access, context.peer(), audit, self._rates.begin(caller.principal))

    async def check_again(self, call: Call, context: Context) -> None:
        """Find the caller again, if its credential may have been revoked or ended while its request was on the way.

        Nothing may wait between this and `decide`. Raises a refusal of the credential.
        """
        if not self._authentication.is_still(call.caller, call.access):
            await self._same_caller(call, context)

    async def _same_caller(self, call: Call, context: Context) -> Caller:
        caller = await self.caller(context)
        if caller != call.caller:  # such as a token that now has another name, or another end
            text = "the caller's credential has changed: call again; a watch, after your cursor"
            raise UnavailableError(Reason.TOO_SLOW, text, wrote_nothing=True)
        return caller

    def decide(self, method: str, request: Any, call: Call) -> Any:
        """Return a parsed request as its caller may make it. Raise NOT_ALLOWED if it may not."""
        if call.audit is not NO_CALL:
            call.audit.about(permissions.config_of(method, request))
        decided = self._permissions.decide(method, request, call.caller)
        if decided is not request:
            for config in permissions.hidden(method, request, decided):
                call.audit.refused(Reason.NOT_ALLOWED, config)
        return decided

    @contextmanager
    def watched(self, method: str, parsed: Any, call: Call, context: Context) -> Iterator[tuple[Any, Send]]:
        """Yield a watch's request as its caller may make it, and how it sends messages as long as the caller may."""

        async def decide() -> Any:
            return self._permissions.decide(method, parsed, await self._same_caller(call, context))

        request = self.decide(method, parsed, call)
        with self._revocation.watched(decide, request, call.caller, context.write) as send:
            yield request, send
