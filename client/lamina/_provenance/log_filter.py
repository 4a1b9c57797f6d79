"""Which version of which config is in force, as text, such as `payments/prod@17`, and in log records. Pure: no I/O."""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from lamina._runtime.public import public

CONFIGS_LIMIT: Final = 64
"""The number of configs in one text; further ones are not read."""

_NAMED: Final = re.compile(
    r"(?P<config>[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*)@(?P<version>[1-9][0-9]{0,18})", re.ASCII
)
_VERSION_LIMIT: Final = 2**63 - 1


class Versioned(Protocol):
    """An object with a name and a version: a Live of either client, or a Config."""

    @property
    def name(self) -> str:
        """The config's name."""
        ...

    @property
    def version(self) -> int:
        """The version that it shows here and now."""
        ...


@public("lamina")
class ProvenanceFilter(logging.Filter):
    """Puts the versions in force into log records: `record.lamina` is `payments/prod@17`, several with commas between.

    Within `live.pin()` that is the pinned version. A record that has the attribute already keeps it, so that a queue's
    listener does not overwrite the version of the place that logged it. No record is ever dropped. Put it on a handler,
    because a logger's filters do not see the records of its children. `attribute` names the record's attribute, which
    is "" without lives:

        handler.addFilter(lamina.ProvenanceFilter(live))
        handler.setFormatter(logging.Formatter("%(levelname)s %(lamina)s %(message)s"))
    """

    def __init__(self, *lives: Versioned, attribute: str = "lamina") -> None:
        super().__init__()
        self._lives = lives
        self._attribute = attribute

    def add(self, *lives: Versioned) -> None:
        """Add lives, such as those that are opened after logging was set up."""
        self._lives = (*self._lives, *lives)

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete a record."""
        if not hasattr(record, self._attribute):
            setattr(record, self._attribute, written(versions_of(self._lives)))
        return True


def versions_of(lives: Iterable[Versioned]) -> dict[str, int]:
    """Return the version that each config shows here and now."""
    return {live.name: live.version for live in lives}


def written(versions: Mapping[str, int]) -> str:
    """Write versions as text, such as `payments/prod@17,flags@3`."""
    return ",".join(f"{config}@{version}" for config, version in versions.items())


def read(text: str) -> dict[str, int]:
    """Read what `written` wrote. Other text is left out, and so is a config with two versions."""
    versions: dict[str, int] = {}
    contradicted: set[str] = set()
    for part in text.split(",", CONFIGS_LIMIT)[:CONFIGS_LIMIT]:
        if (match := _NAMED.fullmatch(part.strip())) and int(match["version"]) <= _VERSION_LIMIT:
            config, version = match["config"], int(match["version"])
            if versions.setdefault(config, version) != version:
                contradicted.add(config)
    return {config: version for config, version in versions.items() if config not in contradicted}
