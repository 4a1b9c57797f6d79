"""Where contents of secrets come in, and go out: a parsed request is sealed, and a reply is revealed at the very end.

Between the two nothing has a content. Who may reveal is decided here as well: see Secrets.may_reveal.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from lamina_server.access.live import LiveAccess
from lamina_server.audit.audit import CallAudit
from lamina_server.cache.budget import ByteBudget
from lamina_server.cache.single_flight import SingleFlight
from lamina_server.domain.access import Caller
from lamina_server.domain.commands import CommitCommand, ForkCommand
from lamina_server.domain.errors import InvalidError, Reason, SecretsUnavailableError, Violation
from lamina_server.domain.records import Change
from lamina_server.domain.secrets import MARK, Content, Sealer, number_of
from lamina_server.domain.values import Scalar
from lamina_server.rpc import revealing
from lamina_server.rpc.revealing import Reply, Revealed
from lamina_server.secrets.keyring import LACKS_DATA_KEY, Keyring
from lamina_server.secrets.live import LiveKeyring
from lamina_server.secrets.sealing import CannotUnsealError
from lamina_server.store.background import in_background
from lamina_server.wire.requests import WriteRequest
from lamina_server.wire.validation import VIOLATION_LIMIT

REVEALED_BYTES: Final = 32 * 1024 * 1024
"""Revealed replies, and parts of them, that are kept with the sealed ones, estimated: some 40,000 small secrets.
Without them a read of 1,000 secrets takes several times as long as one of texts. Most reads are of a map that has not
changed, and a commit changes few of its entries; and all watches get the same messages."""
_PART_OVERHEAD_BYTES: Final = 550
"""Memory that a part takes besides its bytes, sealed and revealed: its places in two dicts, and six objects."""
_KEY_OVERHEAD_BYTES: Final = 60
"""Memory that each key of a part takes besides its text: an object, and its place."""
AT_ONCE: Final = 100
"""Secrets that the event loop seals or unseals itself: they take a millisecond."""

_log = structlog.get_logger(__name__)


class Secrets:
    """Seals requests, and reveals replies to whom may see them."""

    def __init__(self, keys: LiveKeyring, access: LiveAccess) -> None:
        self._keys = keys
        self._access = access
        self._revealed: ByteBudget[tuple[Reply, str, bytes], Revealed] = ByteBudget(REVEALED_BYTES)
        self._flights = SingleFlight()

    @property
    def sealer(self) -> Sealer:
        """Return what compares secrets."""
        return self._keys.keyring

    def may_reveal(self, caller: Caller, config: str) -> bool:
        """Return whether a caller may see the secrets of a config."""
        return self._access.rights(caller, config).reveal

    async def sealed(self, request: WriteRequest, caller: Caller) -> WriteRequest:
        """Return a request with sealed bytes in the place of contents, whose digest is over these bytes.

        Raises SecretsUnavailableError; InvalidError for sealed bytes that are not of the config and key.
        """
        command = request.command
        if isinstance(command, ForkCommand):
            await self._prepare_fork()
            return replace(request, command=replace(command, may_reveal=self.may_reveal(caller, command.source)))
        if not request.secrets:
            return request
        assert isinstance(command, CommitCommand)
        await self._keys.ensure_sealing()
        await self._check_sealed(command, request.secrets)
        if len(request.secrets) <= AT_ONCE:
            return _sealed(request, command, self._keys.keyring, None)
        return await in_background(lambda: _sealed(request, command, self._keys.keyring, None), name="secrets")

    async def other_digests(self, request: WriteRequest) -> AsyncIterator[bytes]:
        """Yield the digests of a parsed request under each data key: a rotation changes no retry."""
        command, keyring = request.command, self._keys.keyring
        if isinstance(command, CommitCommand) and any(request.secrets.values()):
            for number in keyring.numbers:
                seal = partial(_sealed, request, command, keyring, number)
                yield (await in_background(seal, name="secrets")).digest

    async def revealed(
        self, parts: Sequence[bytes], kind: Reply, config: str, caller: Caller, audit: CallAudit
    ) -> bytes:
        """Return a reply with the contents of its secrets, for whom may see them. The sealed bytes stay.

        The reply comes as a whole, or as its header and one part for each entry, which are kept one by one.
        The audit hears of it before the caller. Raises UnavailableError if it cannot be told.
        """
        reply = b"".join(parts)
        if MARK not in reply or not self.may_reveal(caller, config):
            return reply
        whole = self._revealed.get((kind, config, reply)) or await self._joined(kind, config, reply, parts)
        if not self.may_reveal(caller, config):  # any more: an outer key may take seconds
            return reply
        if whole.keys:
            audit.reveal(config, whole.version, whole.keys)
        return whole.part

    async def _joined(self, kind: Reply, config: str, reply: bytes, parts: Sequence[bytes]) -> Revealed:
        """Join a reply of revealed parts. Keep it, too, if it is complete: most reads are of an unchanged map."""
        get, header = self._revealed.get, parts[0] if len(parts) > 1 else None
        found = [get((kind, config, part)) for part in parts]
        missing = tuple(
            part
            for part, each in zip(parts, found, strict=True)
            if each is None and MARK in part and part is not header  # whose hash may have the mark by chance
        )
        if missing:
            made = await self._flights.join((kind, config, missing), partial(self._unseal, kind, config, missing))
            found = [made.get(part) if each is None else each for part, each in zip(parts, found, strict=True)]
        keys = tuple(key for each in found if each is not None for key in each.keys)
        version = found[0].version if found[0] is not None else revealing.number_in(kind(parts[0])[0])
        revealed = b"".join([part if each is None else each.part for part, each in zip(parts, found, strict=True)])
        whole = Revealed(revealed, version, keys)
        if len(parts) > 1 and all((kind, config, part) in self._revealed for part in missing):
            self._revealed.put((kind, config, reply), whole, _held_bytes(reply, whole))
        return whole

    def of_watch(self, config: str, caller: Caller, audit: CallAudit) -> Callable[[bytes], Awaitable[bytes]]:
        """Return what reveals the messages of a caller's watch. The caller's right is looked at each time."""

        async def reveal(message: bytes) -> bytes:
            return await self.revealed([message], revealing.watch, config, caller, audit)

        return reveal

    async def _unseal(self, kind: Reply, config: str, parts: Sequence[bytes]) -> Mapping[bytes, Revealed]:
        """Put contents into parts of a reply, as far as they can be unsealed here. Keep those that are complete."""
        message, found = kind(b"".join(parts))
        await self._keys.ensure_unsealing(
            {number for _, secret in found if (number := number_of(secret.sealed)) is not None}
        )
        fill = partial(self._fill, found, config)
        filled = fill() if len(found) <= AT_ONCE else await in_background(fill, name="secrets")
        made = revealing.parts(message, filled, len(parts))
        for part, revealed in zip(parts, made, strict=True):
            if len(filled) == len(found) or (revealed.keys and len(parts) > 1):
                self._revealed.put((kind, config, part), revealed, _held_bytes(part, revealed))
        return dict(zip(parts, made, strict=True))

    def _fill(self, found: revealing.Secrets, config: str) -> list[str]:
        """Put contents beside sealed bytes. Return the keys of those that could be unsealed."""
        keyring, keys = self._keys.keyring, []
        for key, secret in found:
            try:
                content = keyring.unseal(config, key, secret.sealed)
            except CannotUnsealError:
                _log.error("secret cannot be unsealed", config=config, key=key)
                secret.unavailable = "its encrypted bytes are damaged"
                continue
            if content is not None:
                revealing.fill(secret, content)
                keys.append(key)
            else:
                secret.unavailable = keyring.why_not or LACKS_DATA_KEY
        return keys

    async def _prepare_fork(self) -> None:
        """See to it that secrets can be sealed anew, if there may be any. Otherwise the fork says what is missing."""
        keyring = self._keys.keyring
        with suppress(SecretsUnavailableError):
            await self._keys.refresh()
            if keyring.numbers:
                await self._keys.ensure_sealing()

    async def _check_sealed(self, command: CommitCommand, secrets: Mapping[str, Content | None]) -> None:
        given = [
            (index, change.key, change.value.data)
            for index, change in enumerate(command.changes)
            if change.value is not None and change.key in secrets and secrets[change.key] is None
        ]
        await self._keys.ensure_unsealing({number for _, _, data in given if (number := number_of(_bytes(data)))})
        faults = []
        for index, key, data in given:
            try:
                content = self._keys.keyring.unseal(command.config, key, _bytes(data))
            except CannotUnsealError:
                content = None
            if content is None:
                if number_of(_bytes(data)) in self._keys.keyring.locked:
                    raise SecretsUnavailableError("it cannot decrypt the data key of the sealed bytes")
                what = f"is not what this server has sealed for {key!r} of {command.config!r}; set the content instead"
                faults.append(Violation(f"changes[{index}].value.secret.sealed", what))
        if faults:
            raise InvalidError(Reason.BAD_VALUE, faults[:VIOLATION_LIMIT])


def _sealed(request: WriteRequest, command: CommitCommand, keyring: Keyring, number: int | None) -> WriteRequest:
    """Seal what a request has to be sealed, by the newest data key, or by the one with a number."""
    secrets = request.secrets
    changes = tuple(
        Change(change.key, keyring.seal(command.config, change.key, content, number=number))
        if change.value is not None and (content := secrets.get(change.key)) is not None
        else change
        for change in command.changes
    )
    made = replace(command, changes=changes)
    return replace(request, command=made, digest=made.digest(), secrets={})


def _held_bytes(part: bytes, revealed: Revealed) -> int:
    """Return the memory that a kept part takes, by estimate."""
    keys = sum(map(len, revealed.keys)) + _KEY_OVERHEAD_BYTES * len(revealed.keys)
    return _PART_OVERHEAD_BYTES + len(part) + len(revealed.part) + keys


def _bytes(data: Scalar) -> bytes:
    assert isinstance(data, bytes)
    return data
