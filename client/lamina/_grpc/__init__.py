"""The only room that imports gRPC: connections, and the two shells that run flows and streams.

Begin with connection.py; sync/ and aio/ have the same file names.
"""
