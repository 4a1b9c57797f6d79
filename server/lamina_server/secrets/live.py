"""The keyring of a running server: it loads data keys when they are needed. Lives on the event loop.

The outer key may be a command, which may hang or fail. So it is asked on a thread of its own, by one caller for all who
wait, and after a failure not again for RETRY_SECONDS.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Final

import structlog

from lamina_server.domain.errors import SecretsUnavailableError
from lamina_server.secrets.keyring import FAILED, Keyring, ensure_data_key, load
from lamina_server.secrets.outer import OuterKeyError
from lamina_server.store.background import in_background
from lamina_server.store.contract import Store
from lamina_server.store.silence import Silence

RETRY_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class LiveKeyring:
    """Brings a keyring up to date with its store. If the store is silent, all that asks it raises SilentError."""

    def __init__(self, keyring: Keyring, store: Store, silence: Silence) -> None:
        self.keyring = keyring
        self._store = store
        self._silence = silence
        self._turn = asyncio.Lock()
        self._failed_at = float("-inf")
        self._tried: dict[int, float] = {}

    async def begin(self) -> None:
        """Load what the store has, and say what cannot be revealed. Raise OuterKeyError for a wrong outer key."""
        await in_background(lambda: load(self.keyring, self._store), name="secrets")
        keyring = self.keyring
        if keyring.failure is not None and keyring.failure.is_lasting:
            raise keyring.failure
        if keyring.outer is None and keyring.locked:
            remedy = "start it with --secret-key-file or --secret-key-command"
            _log.warning("secrets cannot be revealed", data_keys=len(keyring.locked), remedy=remedy)

    async def refresh(self) -> None:
        """Load the data keys that other servers have made."""
        if self.keyring.outer is not None and self._store.is_shared:
            await self._do(load)

    async def ensure_sealing(self) -> None:
        """See to it that contents can be sealed, by the store's newest data key. Raise SecretsUnavailableError."""
        keyring = self.keyring
        if keyring.outer is None:
            raise SecretsUnavailableError(keyring.why_not)
        if self._store.is_shared or not keyring.can_seal:
            await self._do(ensure_data_key)
        if not keyring.can_seal:
            raise SecretsUnavailableError(keyring.why_not or FAILED)

    async def ensure_unsealing(self, numbers: Collection[int]) -> None:
        """Load the data keys with these numbers, if the store has them. Raise nothing if it has not."""
        now = time.monotonic()
        lacking = [
            number
            for number in numbers
            if self.keyring.lacks(number) and self._tried.get(number, float("-inf")) + RETRY_SECONDS < now
        ]
        if lacking:
            await self._do(load)
            self._tried = {number: now for number in lacking if self.keyring.lacks(number)}

    async def _do(self, work: Callable[[Keyring, Store], None]) -> None:
        """Ask the store, and the outer key, unless that has just failed for somebody else."""
        async with self._turn:
            self._silence.refuse()
            if time.monotonic() < self._failed_at + RETRY_SECONDS:
                return
            try:
                await self._silence.wait_for(in_background(lambda: work(self.keyring, self._store), name="secrets"))
            except OuterKeyError as error:
                _log.error("secrets unavailable", reason=str(error))
                self._failed_at = time.monotonic()
            if self.keyring.failure is not None:
                self._failed_at = time.monotonic()
