"""What a change of the config `_lamina/access` must leave: an access, and somebody who could change it back. Pure."""

import json
from collections.abc import Iterable, Mapping

from lamina_server.domain.access import ACCESS_CONFIG, Access, Role, Token, compiled
from lamina_server.domain.access_map import SHOWN, read, salvage
from lamina_server.domain.errors import InvalidError, Reason, Violation
from lamina_server.domain.names import NOT_A_NAME, holds_token, without_token
from lamina_server.domain.records import Change
from lamina_server.domain.values import Value


def check(values: Mapping[str, Value], changes: Iterable[Change], now_us: int) -> None:
    """Raise InvalidError as `check_whole` does, and also if what the changes set has a token in it."""
    changes = tuple(changes)
    texts = {change.key: f"{change.key} {change.value.data!s}" for change in changes if change.value is not None}
    if found := [Violation(without_token(key), NOT_A_NAME) for key, text in texts.items() if holds_token(text)]:
        raise InvalidError(Reason.BAD_VALUE, found[:SHOWN])
    check_whole(values, changes, now_us)


def check_whole(values: Mapping[str, Value], changes: Iterable[Change], now_us: int) -> None:
    """Raise InvalidError if changes of a map leave no access, or nobody who could change it back."""
    new = read(_changed(values, changes))
    lost = admins(salvage(values)[0], now_us)
    if lost and not admins(new, now_us):
        text = (
            f"would leave no admin of {ACCESS_CONFIG}, which is now {min(lost)!r}: first grant the role admin on it to "
            "another principal, whose token has not expired"
        )
        raise InvalidError(Reason.BAD_VALUE, [Violation("grants", text)])


def admins(access: Access, now_us: int | None = None) -> frozenset[str]:
    """Return the principals and groups who may change who may do what, and who can exist.

    now_us  the clock: a token that has expired by then counts no more; None: it counts
    """
    subjects = {
        g.subject for g in access.grants if g.role is Role.ADMIN and compiled(g.pattern).fullmatch(ACCESS_CONFIG)
    }
    return frozenset(subject for subject in subjects if _may_exist(access, subject, now_us))


def admin_changes(values: Mapping[str, Value], principal: str, token: Token | None = None) -> tuple[Change, ...]:
    """Return the changes that make a principal the admin of everything, and leave out the keys that are wrong.

    token  a new one of the principal's name; its others go, because whoever has one would be the same principal

    Raises InvalidError if nobody can be that principal.
    """
    old, wrong = salvage(values)
    gone, made = set(wrong), {f"grants/{principal} **": {"role": "admin", "reveal": True}}
    if token is not None:
        gone |= {f"tokens/{each.id}" for each in old.tokens.values() if each.name == token.name}
        made[f"tokens/{token.id}"] = {"name": token.name, "sha256": token.sha256.hex()}
    changes = (
        *(Change(key, None) for key in gone - made.keys()),
        *(Change(key, Value.of_json(json.dumps(item))) for key, item in made.items()),
    )
    if principal not in admins(read(_changed(values, changes))):
        text = "names nobody who can call: there is no such token, or no issuer that vouches for this person or group"
        raise InvalidError(Reason.BAD_VALUE, [Violation(f"grants/{principal} **", text)])
    return changes


def _changed(values: Mapping[str, Value], changes: Iterable[Change]) -> dict[str, Value]:
    changed = {**values, **{change.key: change.value for change in changes}}
    return {key: value for key, value in changed.items() if value is not None}


def _may_exist(access: Access, subject: str, now_us: int | None) -> bool:
    kind, _, name = subject.partition(":")
    if kind == "token":
        return any(token.name == name and not token.has_expired(now_us) for token in access.tokens.values())
    if kind == "oidc":
        return any(name.startswith(issuer.prefix) for issuer in access.issuers.values())
    if kind == "group":
        if name in access.groups:
            return any(_may_exist(access, member, now_us) for member in access.groups[name])
        return any(issuer.groups and name.startswith(issuer.prefix) for issuer in access.issuers.values())
    return True
