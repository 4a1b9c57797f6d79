"""What the tests of several folders share. It knows pytest and the outside world, and nothing of Lamina's inside."""

import os
from typing import NoReturn

import pytest

IN_CI = bool(os.environ.get("CI"))


def absent(what: str, remedy: str) -> NoReturn:
    """Skip the running test because the machine lacks `what`; in CI fail it, for there nothing may be left untested."""
    if IN_CI:
        pytest.fail(f"{what} is absent, and CI must run this test: {remedy}", pytrace=False)
    pytest.skip(f"{what} is absent: {remedy}")
