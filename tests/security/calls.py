"""Calls of any method of any service by its full name, in bytes, and all that a caller gets to see of the answer."""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from lamina_server.domain import access_map
from lamina_server.domain.access import ACCESS_CONFIG, Access
from lamina_server.domain.values import Value
from lamina_server.rpc.handlers import SERVICE
from tests.security.closed import Closed
from tests.security.people import People, Person

SERVICES: Sequence[ServiceDescriptor] = (
    SERVICE,
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
)
"""All services that a server has."""

Metadata = Sequence[tuple[str, str]]


def methods() -> Iterator[tuple[str, MethodDescriptor]]:
    """Yield each method of each service, by its full name."""
    for service in SERVICES:
        for method in service.methods:
            yield f"{service.full_name}/{method.name}", method


METHODS = dict(methods())


@dataclass(frozen=True)
class Seen:
    """What a caller sees of an answer.

    reason    of an error; empty if there was none
    message   the reply, or the first message of a stream
    trailers  all of them
    """

    code: grpc.StatusCode
    reason: str = ""
    text: str = ""
    message: bytes = b""
    trailers: tuple[tuple[str, str | bytes], ...] = ()

    def __contains__(self, text: str) -> bool:
        """Return whether a text is anywhere in the answer."""
        found = text.encode()
        trailers = [value.encode() if isinstance(value, str) else value for _, value in self.trailers]
        return any(found in part for part in (self.message, self.text.encode(), *trailers))

    def renamed(self, old: str, new: str) -> "Seen":
        """Return the answer with one config's name in the place of another of the same length."""
        assert len(old) == len(new)
        trailers = tuple(
            (key, value.replace(old, new) if isinstance(value, str) else value.replace(old.encode(), new.encode()))
            for key, value in self.trailers
        )
        message = self.message.replace(old.encode(), new.encode())
        return Seen(self.code, self.reason, self.text.replace(old, new), message, trailers)


_SENDING = "Internal error from Core"
"""How gRPC's client ends a stream of requests if the server has ended the call while it still sent."""


async def see(server: Closed, person: Person, method: str, data: bytes, metadata: Metadata = ()) -> Seen:
    """Call a method as a person, and return what that person sees: of a stream, until its first message."""
    while (seen := await _seen_once(server, person, method, data, metadata)).text == _SENDING:
        pass
    return seen


async def _seen_once(server: Closed, person: Person, method: str, data: bytes, metadata: Metadata) -> Seen:
    channel: Any = server.channel(Person(certificate=person.certificate))
    descriptor, path = METHODS[method], f"/{method}"
    given = grpc.aio.Metadata(*person.metadata, *metadata)
    try:
        if descriptor.client_streaming:
            return await _first(channel.stream_stream(path)(iter([data]), metadata=given))
        if descriptor.server_streaming:
            return await _first(channel.unary_stream(path)(data, metadata=given))
        return Seen(grpc.StatusCode.OK, message=await channel.unary_unary(path)(data, metadata=given))
    except grpc.aio.AioRpcError as error:
        return _seen(error)


async def change(server: Closed, people: People, values: Mapping[str, Any], by: Person) -> None:
    """Change `_lamina/access`, and what the people know of it; wait until it holds."""
    await server.change(values, by)
    people.values |= values


def access_of(people: People, version: int) -> Access:
    """Return the access that people have, as the content of a version of `_lamina/access`."""
    given = {key: Value.of_json(json.dumps(value)) for key, value in people.values.items() if value is not None}
    return access_map.read(given, version)


async def _first(call: Any) -> Seen:
    try:
        message = await asyncio.wait_for(call.read(), 10)
        if message is grpc.aio.EOF:
            return Seen(await call.code(), text=await call.details(), trailers=tuple(await call.trailing_metadata()))
        return Seen(grpc.StatusCode.OK, message=message)
    finally:
        call.cancel()


def _seen(error: grpc.aio.AioRpcError) -> Seen:
    trailers = tuple(error.trailing_metadata() or ())
    status, info = Status(), ErrorInfo()
    with suppress(KeyError):
        status = Status.FromString(dict(trailers)["grpc-status-details-bin"])
    for detail in status.details:
        detail.Unpack(info)
        if info.reason:
            break
    return Seen(error.code(), info.reason, error.details() or "", b"", trailers)


_OF_ANOTHER = re.compile(r"'[\w.-]+/[\w./-]+'")
"""The name of a config among a statement's parameters."""


async def settled(server: Closed) -> None:
    """Wait until heads that are read in the background were read."""
    while tasks := [*server.application._committer._heads._flights._tasks.values()]:
        await asyncio.wait(tasks)


def shown(statements: list[Any], config: str) -> list[str]:
    """Return what a database was asked, in the words for any config; threads ask in any order.

    The server asks regularly whether it may write and what the access is, and makes keyframes. That has nothing to do
    with calls.
    """
    about = [each for each in statements if "config" in each.statement and "keyframe" not in each.thread.name]
    texts = [f"{each.statement} {each.parameters!r}" for each in about]
    others = [text for text in texts if config == ACCESS_CONFIG or ACCESS_CONFIG not in text]
    named = [text.replace(f"-{config}", "NAME").replace(config, "NAME") for text in others]
    # The heads of other configs, which an earlier call was about, are read in the background at any time.
    return sorted(text for text in named if "NAME" in text or not _OF_ANOTHER.search(text))
