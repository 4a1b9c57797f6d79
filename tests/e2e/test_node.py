"""A client in another language, straight from the .proto: Node.js with @grpc/grpc-js and @grpc/proto-loader."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import absent

HERE = Path(__file__).parent / "node"
PROTOS = Path(__file__).parents[2] / "protos"


@pytest.mark.node
def test_commit_read_history_and_watch(target: str, config_name: str) -> None:
    node = shutil.which("node")
    if node is None:
        absent("Node.js", "there is no `node` (Debian: apt install nodejs npm)")
    if not (HERE / "node_modules").is_dir():
        absent("the Node packages", "run `make node`")
    done = subprocess.run(
        [node, "walk.js", target, config_name, str(PROTOS)], cwd=HERE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "versions": [1, 2],
        "author": "node",
        "map": [["hosts", '["h1","h2"]', 1], ["x", 28, 2]],
        "old": [["x", 27]],
        "history": [[1, 27], [2, 28]],
        "watched": [
            [1, "hosts", "value"],
            [1, "ratio", "value"],
            [1, "x", "value"],
            [2, "ratio", "deleted"],
            [2, "x", "value"],
        ],
        "refusal": 5,
    }
