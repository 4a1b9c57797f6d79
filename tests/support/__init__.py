"""Shared by the tests of several folders. Knows pytest and the world outside, and nothing of Lamina's inside."""

import os
from typing import NoReturn

import pytest

IN_CI = bool(os.environ.get("CI"))


def absent(what: str, remedy: str) -> NoReturn:
    """Skip the running test because the machine lacks `what`; in CI, fail it, because there every test must run."""
    if IN_CI:
        pytest.fail(f"{what} is absent, and CI must run this test: {remedy}", pytrace=False)
    pytest.skip(f"{what} is absent: {remedy}")
