"""Warns of configs that come near a limit, before a commit is refused for it."""

from typing import Final

import structlog

from lamina_server.domain.planning import MapLimits
from lamina_server.domain.records import Version

TOLD_EVERY_SECONDS: Final = 3_600
"""How often the log tells of a config that stays near a limit."""

_log = structlog.get_logger(__name__)


class NearLimits:
    """Looks at each new version. Lives on the event loop.

    percent  of a limit, from which on a config is near it
    """

    def __init__(self, limits: MapLimits, percent: int) -> None:
        self._limits = limits
        self._warned = MapLimits(keys=limits.keys * percent // 100, size_bytes=limits.size_bytes * percent // 100)
        self._configs: set[str] = set()

    @property
    def count(self) -> int:
        """Return how many configs are near a limit, of those that this server has seen a commit of."""
        return len(self._configs)

    def committed(self, version: Version) -> None:
        """Note a new version."""
        if version.key_count <= self._warned.keys and version.size_bytes <= self._warned.size_bytes:
            self._configs.discard(version.config)
            return
        self._configs.add(version.config)
        _log.warning(
            "a config comes near a limit",
            cause=version.config,
            every_seconds=TOLD_EVERY_SECONDS,
            config=version.config,
            keys=version.key_count,
            limit_keys=self._limits.keys,
            size_bytes=version.size_bytes,
            limit_bytes=self._limits.size_bytes,
        )
