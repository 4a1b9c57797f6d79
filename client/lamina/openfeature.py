"""An OpenFeature provider: a config's keys as feature flags. It knows the SDK's public names and OpenFeature's.

    openfeature.api.set_provider(LaminaProvider("flags/prod"))
    openfeature.api.get_client().get_boolean_value("new-checkout", False)

A flag's key is a config's key, with the key's value, the same for everybody: evaluation contexts are ignored.
An evaluation makes no call and never waits, so the asynchronous methods are the same ones.

    value            as stored; an integer becomes a float for a float flag, and nothing else is converted
    variant          the flag's origin, the version that set its value: "17". The same variant is the same value
    reason           STATIC while the live is LIVE; else STALE: possibly out of date
    flag metadata    config, version (shown), origin; and flagSetId, OpenFeature's own name for the config
    error code       FLAG_NOT_FOUND, TYPE_MISMATCH (also for a secret), or PROVIDER_NOT_READY until the config was read
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from openfeature.evaluation_context import EvaluationContext  # pyright: ignore[reportMissingTypeStubs]
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata  # pyright: ignore[reportMissingTypeStubs]

from lamina._live.offline import entries_of_default
from lamina._live.state import LiveState
from lamina._mapping.secret import Secret
from lamina._mapping.values import Value
from lamina._runtime import forking
from lamina.errors import LaminaError, NotFoundError, UnavailableError
from lamina.records import VersionChanges
from lamina.sync import Client, Live, connect

STATE_SECONDS: Final = 0.5
"""The polling interval of the live's state, which has no event, and the pause between two tries to begin."""

_NOT_YET: Final = (UnavailableError, NotFoundError)
"""Errors that may soon be over: there is no server, or no such config yet."""

Flag = TypeVar("Flag")


class LaminaProvider(AbstractProvider):
    """Serves the keys of one config as flags, and emits an event when flags change.

    `prefix` and a flag's key together are a config's key, so that flags may lie beside other settings. Without a
    `client` it connects, as `lamina.connect()` does, and closes that client again; a client that was given stays open.

    `initialize` waits for the client's `timeout` at most. If no server has answered by then, or if there is no such
    config yet, it fails, as OpenFeature requires, and tries again in the background: PROVIDER_READY comes later, and
    until then flags have the caller's defaults. With `default` it begins from that instead, as `client.live` does, and
    its flags are STALE until there is a version of the config. Any other error is definite: PROVIDER_FATAL, or, if the
    config was followed already, PROVIDER_ERROR, and flags keep their last values.

    Within `with client.live(config).pin():`, of the same client, flags are of the pinned version, too.
    """

    def __init__(
        self,
        config: str,
        *,
        client: Client | None = None,
        prefix: str = "",
        default: Mapping[str, Value] | None = None,
    ) -> None:
        super().__init__()
        self._config = config
        self._default = default
        if default is not None:
            entries_of_default(config, default)  # refuses a bad default now
        self._prefix = prefix
        self._given = client
        self._client = client
        self._live: Live | None = None
        self._is_stale = False
        self._over = threading.Event()
        self._process: object = None

    # --- the life cycle, which OpenFeature controls ---------------------------------------------

    def get_metadata(self) -> Metadata:
        """Return the provider's name."""
        return Metadata(name="Lamina")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Read the config and start following it."""
        self.shutdown()
        self._over = threading.Event()
        try:
            self._open()
        except _NOT_YET as error:
            self._attend()
            raise ProviderNotReadyError(f"{self._config} cannot be read yet: {error}") from error
        except LaminaError as error:
            self._close()
            raise ProviderFatalError(f"{self._config} cannot be read: {error}") from error
        self._attend()

    def shutdown(self) -> None:
        """Stop following, and close what it opened."""
        self._over.set()
        self._close()

    def _open(self) -> None:
        if self._client is None:
            self._client = connect()
        live = self._client.live(self._config, default=self._default)
        live.on_change(self._changed)
        self._live, self._is_stale = live, False

    def _close(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.close()
        if self._client is not None and self._given is None:
            self._client.close()
            self._client = None

    # --- events ---------------------------------------------------------------------------------

    def _changed(self, version: VersionChanges) -> None:
        keys = [change.key for change in version.changes if change.key.startswith(self._prefix)]
        if keys:
            flags = [key.removeprefix(self._prefix) for key in keys]
            metadata: dict[str, Any] = {"config": self._config, "version": version.version}
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=flags, metadata=metadata))

    def _attend(self) -> None:
        """Start the thread that polls the live's state; a forked child starts its own with the first flag it reads."""
        self._process = forking.process
        threading.Thread(target=self._look_after, args=(self._over,), name="lamina-openfeature", daemon=True).start()

    def _look_after(self, over: threading.Event) -> None:
        while not over.wait(STATE_SECONDS):
            try:
                self._look(over)
            except _NOT_YET:
                continue
            except LaminaError as error:
                if over.is_set():
                    return
                # A fatal error would reset flags to their defaults. The values that were read are still better.
                code = ErrorCode.PROVIDER_FATAL if self._live is None else ErrorCode.GENERAL
                self.emit_provider_error(ProviderEventDetails(message=str(error), error_code=code))
                return

    def _look(self, over: threading.Event) -> None:
        """Emit an event if the live's state has changed since the last poll. If `initialize` failed, try again."""
        if self._live is None:
            self._open()
            if over.is_set():  # it has ended in the meantime, with nothing to close
                self._close()
                return
            self.emit_provider_ready(ProviderEventDetails())
        live = self._live
        if live is None or over.is_set():
            return
        if live.error is not None:
            raise live.error
        is_stale = live.state is not LiveState.LIVE
        if is_stale and not self._is_stale:
            self.emit_provider_stale(ProviderEventDetails(message=f"{self._config} is {live.state}"))
        elif self._is_stale and not is_stale:
            self.emit_provider_ready(ProviderEventDetails())
        self._is_stale = is_stale

    # --- evaluation -----------------------------------------------------------------------------

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Return a flag that is true or false."""
        return self._resolve(flag_key, default_value, bool)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Return a flag that is text."""
        return self._resolve(flag_key, default_value, str)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Return a flag that is a whole number."""
        return self._resolve(flag_key, default_value, int)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Return a flag that is a number."""
        return self._resolve(flag_key, default_value, float)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Return a flag that is a list or a dict; it is read-only."""
        return self._resolve(flag_key, default_value, list, dict)

    def _resolve(self, flag: str, default: Flag, *kinds: type) -> FlagResolutionDetails[Flag]:
        if self._process is not None and self._process is not forking.process:
            self._attend()
        live = self._live
        if live is None:
            return _failed(default, ErrorCode.PROVIDER_NOT_READY, f"{self._config} was not read yet")
        current, key = live.current, f"{self._prefix}{flag}"
        if key not in current:
            return _failed(default, ErrorCode.FLAG_NOT_FOUND, f"{self._config} has no key {key!r}")
        value = current[key]
        if isinstance(value, Secret):  # flags are shown and logged everywhere
            return _failed(default, ErrorCode.TYPE_MISMATCH, f"{key!r} is a secret in {self._config}: no flag is one")
        origin = current.origin(key)
        if float in kinds and type(value) is int:
            value = float(value)
        # Not only isinstance: True is an int in Python. Lists and dicts that are read are subclasses.
        if isinstance(value, bool) is not (bool in kinds) or not isinstance(value, kinds):
            named = " or ".join(kind.__name__ for kind in kinds)
            stored = type(value).__name__.removeprefix("Frozen").lower()
            text = f"{key!r} is of type {stored} in {self._config} since version {origin}, not {named}"
            return _failed(default, ErrorCode.TYPE_MISMATCH, text)
        return FlagResolutionDetails(
            value=cast("Flag", value),
            variant=str(origin),
            reason=Reason.STATIC if live.state is LiveState.LIVE else Reason.STALE,
            flag_metadata={
                "flagSetId": self._config,
                "config": self._config,
                "version": current.version,
                "origin": origin,
            },
        )


def _failed(default: Flag, code: ErrorCode, text: str) -> FlagResolutionDetails[Flag]:
    return FlagResolutionDetails(value=default, reason=Reason.ERROR, error_code=code, error_message=text)
