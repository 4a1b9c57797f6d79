"""A source of pydantic-settings that reads a config, so that the environment can still win.

Needs the extra `lamina[pydantic]`. To follow a config, use `live.bind`, which needs only pydantic.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic_settings import BaseSettings, InitSettingsSource

from lamina._settings.models import shape_of
from lamina._settings.shapes import Filling

__all__ = ["LaminaSettingsSource"]

DELIMITER: Final = "/"


class LaminaSettingsSource(InitSettingsSource):
    """Fills settings from a config: the result of `client.config(name)`, or `live.current`, as it is at that moment.

    Return it from `settings_customise_sources`: sources before it win, field by field, also within nested models. A
    field is filled from the key of its name, or alias, after `prefix`, a nested one from the keys below it (`db/host`)
    or from a dict. Other keys are ignored if the settings have `extra="ignore"`; by default they forbid them.
    """

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        config: Mapping[str, Any],
        *,
        prefix: str = "",
        delimiter: str = DELIMITER,
    ) -> None:
        # As for a file's source: the base class knows under which of a field's names the sources are merged.
        super().__init__(settings_cls, Filling(shape_of(settings_cls), prefix, delimiter).tree(config))
        self._delimiter = delimiter

    def __repr__(self) -> str:
        return f"{type(self).__name__}(delimiter={self._delimiter!r})"  # the base's repr shows the values that it read
