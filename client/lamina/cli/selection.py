"""Some of a map's keys, chosen by name or by prefix, and their secrets, masked or not. Asks no server."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import click

import lamina
from lamina.cli.arguments.spelling import did_you_mean
from lamina.cli.errors import NOT_FOUND, Refusal, tell
from lamina.cli.output.secrets import masked, secrets_in

prefix_option = click.option(
    "--prefix", "prefixes", metavar="P", multiple=True, help="Keys that begin with P; may be repeated."
)
reveal_option = click.option("--reveal", is_flag=True, help="Secrets in the clear.")
upper_option = click.option("--upper", is_flag=True, help="Upper-case names in env: DB_HOST for db/host.")


def selected(snapshot: lamina.Snapshot, keys: Collection[str], prefixes: Collection[str]) -> dict[str, Any]:
    """Return a plain copy of the entries with one of the keys or prefixes, in key order; of all where neither is given.

    Refuses a missing key, with similar names, and a prefix with which no key begins.
    """
    missing = [key for key in keys if key not in snapshot]
    if missing:
        raise no_such_key(snapshot.config, missing[0], snapshot)
    unmet = [prefix for prefix in prefixes if not any(key.startswith(prefix) for key in snapshot)]
    if unmet:
        raise Refusal(f"{snapshot.config} has no key that begins with {unmet[0]}", NOT_FOUND)
    entries = snapshot.to_dict()
    if not keys and not prefixes:
        return entries
    wanted, begins = frozenset(keys), tuple(prefixes)
    return {key: value for key, value in entries.items() if key in wanted or key.startswith(begins)}


def without_contents(entries: Mapping[str, Any], form: str, remedy: str) -> dict[str, Any]:
    """Return entries for a file or a program, without the contents of secrets. Tell so, with a remedy if it helps."""
    if found := secrets_in(entries):
        what = "1 secret is" if len(found) == 1 else f"{len(found):,} secrets are"
        how = "left out" if form == "env" else f"written without the {'content' if len(found) == 1 else 'contents'}"
        tell(f"{what} {how}" + (f": {remedy}" if all(secret.is_revealed for secret in found) else ""))
    return masked(entries)


def no_such_key(config: str, key: str, keys: Iterable[str]) -> Refusal:
    """Return the refusal of a key that a config does not have."""
    return Refusal(f"{config} has no key {key}{did_you_mean(key, keys)}", NOT_FOUND)
