"""The wire: bytes in, bytes out. Knows gRPC, and no database.

handlers    every method of the service on raw bytes; errors become statuses
service     what each method does: convert, call, convert
requests    what the methods are asked for, as records
convert     protobuf messages <-> records; no message gets past it
validation  what a request's fields must be
callers     who calls, by the metadata
status      an error -> a status code and rich details
snapshots   pages of a map in memory
reads       answers of the reading methods, page by page
paging      page tokens, and where a page ends
watching    the watch: a cursor that follows a config
changes     what a watch is told next
draining    the calls under way, and their end
listening   addresses, TLS, and what gRPC is told about connections
"""
