"""Counts the instructions of a commit without gRPC, under valgrind: they hardly vary, where times vary by half."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.where import counting
from tests.benchmarks.where.counting import WHOLE_OF_MANY, WHOLE_OF_ONE

_VALGRIND = "valgrind"
_TOOLS = (_VALGRIND, "callgrind_control")
_COST = frozenset("0123456789+-*")
"""Begins a line with the instructions of one line of source."""
_OBJECTS = (
    (r"libsqlite", "SQLite"),
    (r"^_message", "protobuf"),
    (r"python", "the interpreter"),  # with the modules that it brings
    (r"^libc\.", "the C library"),
    (r"^libcrypto", "digests"),
)
_LIMIT_SECONDS = 900.0


class Counted(NamedTuple):
    """Instructions of one commit by stage, and the shares of those who carry them out when there are many callers."""

    stages: Mapping[str, float]
    shares: Mapping[str, float]


def missing() -> str:
    """Return what is not installed of what counting needs; empty if all of it is."""
    return ", ".join(tool for tool in _TOOLS if shutil.which(tool) is None)


def count(folder: Path) -> Counted:
    """Count in a process of its own; that takes a minute or two."""
    out = folder / "callgrind.out"
    measured = [sys.executable, "-m", counting.__name__, f"sqlite:///{folder / 'counted.db'}"]
    options = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
    done = subprocess.run(
        [_VALGRIND, *options, *measured], check=False, capture_output=True, text=True, timeout=_LIMIT_SECONDS
    )
    if done.returncode:
        raise RuntimeError(f"valgrind ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    commits: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    found: dict[str, float] = {}
    shares: Mapping[str, float] = {}
    for part in folder.glob(f"{out.name}.*"):
        head = part.read_text(encoding="utf-8")
        named = re.search(r"^desc: Trigger: dump (\S+)", head, re.MULTILINE)
        total = re.search(r"^totals: (\d+)", head, re.MULTILINE)
        if named and total:
            found[named[1]] = int(total[1]) / commits[named[1]]
            if named[1] == WHOLE_OF_MANY:
                shares = _shares(part)
    return Counted(_alone(found), shares)


def _alone(found: Mapping[str, float]) -> Mapping[str, float]:
    """Subtract from each count what is not its own: the loop around it, the callers' work, the stages within it."""
    alone = {name: found[name] - found["nothing"] for name in ("parse", "proposal", "encode", "reply")}
    alone["proposal"] -= alone["encode"]
    wholes = {name: found[name] - found["callers"] for name in (WHOLE_OF_ONE, WHOLE_OF_MANY)}
    rest = wholes[WHOLE_OF_MANY] - sum(alone.values()) - found["finish"] - found["writer"]
    return {**alone, **wholes, "finish": found["finish"], "writer": found["writer"], "rest": rest}


def _shares(part: Path) -> Mapping[str, float]:
    """Return who carries out which share of all instructions, by the object files that callgrind's output names."""
    found: Counter[str] = Counter()
    names: dict[str, str] = {}
    who, is_inclusive = "", False
    for line in part.read_text(encoding="utf-8").splitlines():
        if named := re.match(r"(c?ob)=(\(\d+\))(?: (.+))?", line):  # a name stands only where its number is new
            if named[3]:
                names[named[2]] = _owner(named[3])
            who = names[named[2]] if named[1] == "ob" else who
        elif line.startswith("calls="):
            is_inclusive = True  # the next line has the instructions of the function that is called
        elif line[:1] in _COST:
            found[who] += 0 if is_inclusive else int(line.split()[1])
            is_inclusive = False
    return {who: instructions / found.total() for who, instructions in found.most_common()}


def _owner(path: str) -> str:
    name = Path(path).name
    return next((owner for pattern, owner in _OBJECTS if re.search(pattern, name)), "the rest")
