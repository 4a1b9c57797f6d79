"""Fuzzing, by `make fuzz`: request bytes against the parser of every method, and HTTP/2 frames against a server."""
