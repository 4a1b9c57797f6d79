"""Who calls, and who may do what: the config `_lamina/access` as it is followed, and the credentials of callers.

The decisions are in domain/access.py, and rpc/ asks for them. Knows no gRPC and no method. Begin with
authentication.py.
"""
