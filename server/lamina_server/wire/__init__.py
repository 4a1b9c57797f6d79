"""Protobuf messages to records and back. Knows no gRPC, and decides nothing. No other room handles messages.

Begin with parse.py (bytes of a request to a record) and encode.py (records to bytes of a reply).

Replies are joined from bytes, not from messages: the encodings of two messages in a row
are the encoding of both merged. So a page is a header, followed by entries that were
encoded one by one.
"""
