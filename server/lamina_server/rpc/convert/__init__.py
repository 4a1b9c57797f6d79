"""Protobuf messages <-> records: the only place where messages are touched. Decides nothing.

requests  bytes of a request -> a record, parsed and checked once
replies   records -> bytes of a reply, or of a part of one
details   an error -> bytes of its rich details
values    a value, both ways
codec     the parts of a reply that are kept as bytes in memory

Bytes are put together, not messages: protobuf's encoding of two messages in a row is that
of both merged, so a page is a header followed by entries that were encoded one by one.
"""
