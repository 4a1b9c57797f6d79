"""Lamina: the client."""
