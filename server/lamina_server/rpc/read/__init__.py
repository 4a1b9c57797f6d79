"""The reading methods, page by page: from the heads in memory, or from the store. Knows no gRPC.

Begin with from_store.py, which has a function for each method; from_memory.py answers GetVersion faster.
"""
