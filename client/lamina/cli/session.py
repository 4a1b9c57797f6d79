"""One client of the SDK for one verb, connected by the shared options; it knows no verbs and no output."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click

import lamina
from lamina import _environment
from lamina.cli.access_map import ACCESS_CONFIG
from lamina.cli.arguments.options import Chosen, chosen
from lamina.cli.arguments.spelling import did_you_mean
from lamina.cli.errors import NOT_FOUND, REFUSED, Refusal, tell
from lamina.cli.quiet import quiet_grpc

_DEFAULT_SECONDS: Final = 10.0
"""The time that `lamina.connect` gives a call by default: asking it would load gRPC."""
_COMPARED_CONFIGS: Final = 1_000
"""A name is compared with this many configs: one page of the list, or a few."""


@contextmanager
def connected(ctx: click.Context, *, quiet: bool = False, renews: bool = True, **more: Any) -> Iterator[lamina.Client]:
    """Yield a client, and close it after the verb.

    `more` goes to `lamina.connect` and wins over the options. With `quiet`, it prints nothing while it waits. Without
    `renews`, a login counts as it is kept, and its provider is not asked.
    """
    with nullcontext() if quiet else _told(), _client(ctx, more, renews=renews) as client:
        try:
            yield client
        except lamina.NotFoundError as error:
            if error.reason != "CONFIG_NOT_FOUND":
                raise
            name = ctx.params.get("config") or ctx.params.get("source") or ""
            raise Refusal(f"{error}{similar_config(client, name)}", NOT_FOUND) from None


def similar_config(client: lamina.Client, name: str) -> str:
    """Return a question with similar names of configs; empty if there is none, or no answer."""
    with suppress(lamina.LaminaError):
        return did_you_mean(name, (info.name for info in islice(client.configs(), _COMPARED_CONFIGS)))
    return ""


def _client(ctx: click.Context, more: dict[str, Any], *, renews: bool) -> lamina.Client:
    arguments = {**_arguments(chosen(ctx)), **more}
    target = arguments.get("target")
    if credentials_of(ctx, target) == ("login",):
        kept = None if renews else lamina.login.find(target)
        arguments["token"] = kept.token if kept else lamina.LoginToken(target)
    with quiet_grpc():
        return lamina.connect(**arguments)


def _has_login(target: str | None) -> bool:
    """Return whether this user has logged in for a target. Only who has ever done so pays for the import."""
    return Path(_environment.login_folder()).is_dir() and lamina.login.find(target) is not None


def credentials_of(ctx: click.Context, target: str | None) -> tuple[str, ...]:
    """Return what says who this command is to a target: a "token", a "certificate" or both; or a "login"."""
    values = chosen(ctx).values
    has_token = "token_file" in values or any(map(_environment.text, (_environment.TOKEN, _environment.TOKEN_FILE)))
    has_certificate = not values.get("plaintext") and ("tls_cert" in values or "cert" in _environment.tls_files())
    given = (*["token"] * has_token, *["certificate"] * has_certificate)
    return given or ("login",) * _has_login(target)


@contextmanager
def _told() -> Iterator[None]:
    """Print what the SDK logs, so that people know that a command waits for a server."""
    log = logging.getLogger("lamina")
    handler, level = _Teller(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _Teller(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Write a record like the other lines on stderr."""
        tell(record.getMessage())


def time_of(ctx: click.Context) -> float:
    """Return how many seconds a verb has, with all its retries."""
    typed: float | None = chosen(ctx).values.get("timeout")
    seconds = _environment.timeout() if typed is None else typed
    return _DEFAULT_SECONDS if seconds is None else seconds


def _arguments(options: Chosen) -> dict[str, Any]:
    """Return the typed options: the SDK itself completes them from the environment."""
    values = options.values
    named: dict[str, Any] = {name: values[name] for name in ("target", "timeout", "author") if name in values}
    if "token_file" in values:
        named["token"] = _token_file(values["token_file"])
    return {**named, "tls": _tls(values)}


class _TokenFile(lamina.TokenFile):
    """The file of --token-file."""

    _source = "--token-file"


@cache  # some verbs connect twice, and a pipe, such as <(...), can be read only once
def _token_file(path: str) -> lamina.TokenFile:
    """Return the file, which is read anew when it changes; Refusal if it holds no token now."""
    file = _TokenFile(path)
    try:
        file()
    except lamina.InvalidError as error:
        raise Refusal(str(error), REFUSED) from None
    return file


def _tls(values: dict[str, Any]) -> lamina.TLS | bool | None:
    typed = {name: values[f"tls_{name}"] for name in ("ca", "cert", "key") if f"tls_{name}" in values}
    if values.get("plaintext"):
        if typed:
            raise click.UsageError("--plaintext and TLS files exclude each other")
        return False
    if not typed:
        return None
    files = {**_environment.tls_files(), **typed}
    if ("cert" in files) != ("key" in files):
        raise click.UsageError("--tls-cert and --tls-key go together")
    return lamina.TLS(**files)


def read_access(client: lamina.Client) -> lamina.Config:
    """Read the config `_lamina/access`. Raise Refusal, which says why there may be none, if there is none."""
    with access_demanded():
        return client.config(ACCESS_CONFIG)


@contextmanager
def access_demanded() -> Iterator[None]:
    """If the block finds no config `_lamina/access`, raise Refusal, which says why there may be none."""
    try:
        yield
    except lamina.NotFoundError:
        text = f"there is no {ACCESS_CONFIG} that you may read: `lamina whoami` shows who you are"
        raise Refusal(text, NOT_FOUND) from None


def read(client: lamina.Client, config: str, point: int | datetime | None) -> lamina.Snapshot:
    """Read a config's map, at a point in time or at its head."""
    cfg = client.config(config)
    return cfg.at(cfg.version if point is None else point)
