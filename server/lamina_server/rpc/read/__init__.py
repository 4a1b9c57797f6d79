"""The reading methods, page by page: from the heads in memory, or from the store. Knows no gRPC."""
