"""How secrets are sealed and unsealed, and the keys for that. Knows no gRPC, no message and no config's history.

A data key seals secrets. It is kept in the store, wrapped by the outer key, which is not. Begin with keyring.py.
"""
