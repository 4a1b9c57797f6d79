"""The health service of gRPC (grpc.health.v1): whether services are ready. Anybody may call it, without a credential.

The library's own servicer holds its lock while it sends to a watcher. So one watcher who takes no message would keep
everybody from hearing of a change. Here a change waits for nobody.
"""

import asyncio
from typing import Any, Final, TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVICE_NAME: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

Request: TypeAlias = health_pb2.HealthCheckRequest
Response: TypeAlias = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # the library has no types
    """The statuses of services, by name. Lives on the event loop."""

    def __init__(self) -> None:
        self._statuses: dict[str, Any] = {"": Response.SERVING}
        self._changed = asyncio.Event()
        self._has_ended = False

    def set(self, service: str, *, is_ready: bool) -> None:
        """Set the status of a service. After the end, nothing is ready any more."""
        self._statuses[service] = Response.SERVING if is_ready and not self._has_ended else Response.NOT_SERVING
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self) -> None:
        """Say of all services that they are not ready, for good."""
        self._has_ended = True
        for service in self._statuses:
            self.set(service, is_ready=False)

    async def Check(self, request: Request, context: Any) -> Response:  # noqa: N802 - gRPC's name
        """Answer with the status of a service."""
        if request.service not in self._statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return Response(status=self._statuses[request.service])

    async def Watch(self, request: Request, context: Any) -> None:  # noqa: N802 - gRPC's name
        """Send the status of a service, and each change of it. A watcher that is slow gets the newest alone."""
        sent = None
        while True:
            changed, status = self._changed, self._statuses.get(request.service, Response.SERVICE_UNKNOWN)
            if status != sent:
                await context.write(Response(status=status))
                sent = status
            await changed.wait()
