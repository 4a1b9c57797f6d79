"""The wire: bytes in, bytes out. Knows gRPC, and no database.

handlers    every method of the service on raw bytes; errors become statuses
service     what each method does: convert, call, convert
convert     protobuf messages <-> records; no message gets past it
validation  what a request's fields must be
reads       answers of the reading methods, page by page
watching    the watch: a cursor that follows a config
paging      page tokens, and where a page ends
readers     the threads that read the store
status      an error -> a status code and rich details
callers     who calls, by the metadata
listening   addresses, TLS, and what gRPC is told about connections
"""
