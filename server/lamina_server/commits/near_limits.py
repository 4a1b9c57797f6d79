"""Warns of configs that come near a limit, before a commit is refused for it."""

from typing import Final

import structlog

from lamina_server.domain.planning import MapLimits
from lamina_server.domain.records import Version

TOLD_EVERY_SECONDS: Final = 3_600
"""How often the log tells of a config that stays near a limit."""

_log = structlog.get_logger(__name__)


def warn(version: Version, limits: MapLimits, percent: int) -> bool:
    """Log a new version whose map is larger than a part of the limits; return whether it is."""
    if version.key_count * 100 <= limits.keys * percent and version.size_bytes * 100 <= limits.size_bytes * percent:
        return False
    _log.warning(
        "a config comes near a limit",
        cause=version.config,
        every_seconds=TOLD_EVERY_SECONDS,
        config=version.config,
        keys=version.key_count,
        limit_keys=limits.keys,
        size_bytes=version.size_bytes,
        limit_bytes=limits.size_bytes,
    )
    return True
