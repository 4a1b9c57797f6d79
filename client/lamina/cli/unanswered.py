"""What gRPC says of a server that is not there, as a person at a terminal would: where, and why in a few words.

It knows the texts alone. Those that it does not know are told as they are.
"""

import re
from typing import Final

_SAID: Final = re.compile(
    r"(?P<within>no answer within \S+ s)?(?:; the last try ended with: )?"
    r"(?:(?P<silent>deadline exceeded: .*)|unavailable: (?P<why>.*))",
    re.DOTALL,
)
_CAUSES: Final = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted"),
    ("andshake", "the TLS handshake failed"),
    ("Connection refused", "connection refused"),
    ("resolving", "its name cannot be resolved"),
    ("No such file", "there is no such socket"),
    ("nreachable", "the network does not reach it"),
    ("Socket closed", "the connection was lost"),
    ("Connection reset", "the connection was lost"),
    ("FD Shutdown", "the connection was lost"),
)
"""What a text has in it, and what that means. The first one counts."""


def shortened(text: str, target: str) -> str:
    """Give what is to be said instead of one of gRPC's texts, or of the SDK's that ends with one."""
    said = _SAID.fullmatch(text)
    if said is None:
        return text
    if said["silent"]:
        return f"{said['within'] or 'no answer in time'} from {target}"
    why = next((meaning for sign, meaning in _CAUSES if sign in said["why"]), said["why"])
    begin = f"{said['within']}: " if said["within"] else ""
    return f"{begin}no server answers at {target} ({why})"
