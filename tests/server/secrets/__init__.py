"""Tests of the room secrets/, without a server."""
