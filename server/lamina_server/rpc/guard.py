"""What stands before each method: who calls, and whether the caller may. Knows no method's meaning."""

from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeAlias

import grpc

from lamina_server.access.authentication import Authentication
from lamina_server.audit.audit import Audit, CallAudit
from lamina_server.domain.access import Caller
from lamina_server.metrics.recorder import Recorder
from lamina_server.rpc import permissions, transport
from lamina_server.rpc.decision import Decision
from lamina_server.rpc.permissions import Permissions
from lamina_server.rpc.rates import Rates
from lamina_server.rpc.revocation import Revocation
from lamina_server.rpc.service import Call
from lamina_server.rpc.watch.in_flight import Send
from lamina_server.traces.traces import NO_TRACES, Traces

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
        recorder: Recorder,
        traces: Traces = NO_TRACES,
    ) -> None:
        self._authentication = authentication
        self._permissions = decisions
        self._revocation = revocation
        self._rates = rates
        self._audit = audit
        self._recorder = recorder
        self._traces = traces

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

    def decision(self, method: str, parsed: Any, call: Call, context: Context) -> Decision:
        """Return the decision on a parsed request of a method, which is still to be made."""
        if self._traces is not NO_TRACES:
            self._traces.about(permissions.config_of(method, parsed))
        find = partial(self.caller, context)
        return Decision(
            self._authentication,
            self._permissions,
            find,
            method=method,
            parsed=parsed,
            call=call,
            recorder=self._recorder,
        )

    def watched(self, decision: Decision, call: Call, context: Context) -> AbstractContextManager[Send]:
        """Return a block that yields how a watch sends messages, as long as its caller may have them."""
        return self._revocation.watched(decision, call.caller, context.write)
