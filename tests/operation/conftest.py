"""Servers here are programs of their own, as in production."""

from tests.support.server import ServerProcess

ServerProcess.forks = False
