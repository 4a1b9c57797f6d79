"""A hostile server: it asks a real one, and changes the answers.

    with Liar(server.target) as liar:
        liar.lies["GetVersion"] = lambda reply: setattr(reply, "config", "other")
        lamina.connect(liar.target).config("app")

A lie changes a reply in place, or returns the replies to send instead of it (a stream may send any number).
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import suppress
from typing import Any, Self

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from lamina_protos.v1 import lamina_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["ConfigService"]

Lie = Callable[[Any], Iterable[Message] | None]


class Liar:
    """A server at `target` that answers what another one says, except for its `lies`, by method.

    asked  the requests of each method so far
    """

    def __init__(self, honest: str) -> None:
        self.lies: dict[str, Lie] = {}
        self.asked: dict[str, list[Any]] = {}
        self._honest = grpc.insecure_channel(honest, options=[("grpc.max_receive_message_length", -1)])
        self._server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_send_message_length", -1)])
        methods = {method.name: self._handler(method) for method in SERVICE.methods}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, methods),))
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()
        self._honest.close()

    def _handler(self, method: Any) -> "grpc.RpcMethodHandler[Any, Any]":
        request_type, reply_type = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        path = f"/{SERVICE.full_name}/{method.name}"

        def told(reply: Any) -> Iterable[Message]:
            lie = self.lies.get(method.name)
            changed = lie(reply) if lie else None
            return [reply] if changed is None else changed

        def unary(request: Any, context: Any) -> Any:
            self.asked.setdefault(method.name, []).append(request)
            if hasattr(request, "page_token") and method.name in self.lies:
                request.page_token = ""  # the honest server does not know the tokens of a lie
            try:
                reply = self._honest.unary_unary(path, _bytes, reply_type.FromString)(request)
            except grpc.RpcError as error:
                context.set_trailing_metadata(error.trailing_metadata())
                context.abort(error.code(), error.details())
                raise
            return next(iter(told(reply)))

        def stream(request: Any, context: Any) -> Iterator[Message]:
            self.asked.setdefault(method.name, []).append(request)
            replies = self._honest.unary_stream(path, _bytes, reply_type.FromString)(request)
            context.add_callback(replies.cancel)
            with suppress(grpc.RpcError):
                for reply in replies:
                    yield from told(reply)

        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, request_type.FromString, _bytes)
        return grpc.unary_unary_rpc_method_handler(unary, request_type.FromString, _bytes)


def _bytes(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded
