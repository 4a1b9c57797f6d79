"""Protobuf messages to records and back: the only room that touches messages. Knows no gRPC, and decides nothing.

Begin with parse.py (bytes of a request to a record) and encode.py (records to bytes of a reply).

Bytes are put together, not messages: protobuf's encoding of two messages in a row is that
of both merged, so a page is a header followed by entries that were encoded one by one.
"""
