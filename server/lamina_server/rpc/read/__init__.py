"""The reading methods, page by page: out of the heads in memory, or out of the store. Knows no gRPC."""
