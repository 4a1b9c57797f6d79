"""Lamina: the server."""
