"""gRPC: bytes in, bytes out. Knows no database.

Begin with service.py, which has one method for each RPC; read/ answers reads, watch/ runs watches.
"""
