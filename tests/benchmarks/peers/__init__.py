"""Servers that a team may choose instead, each with durable settings and through the Python client that people use."""

from collections.abc import Mapping

from tests.benchmarks.peers import etcd, nats, redis, zookeeper
from tests.benchmarks.peers.peer import Running

PEERS: Mapping[str, Running] = {
    "etcd": etcd.running,
    "ZooKeeper": zookeeper.running,
    "Redis": redis.running,
    "NATS": nats.running,
}
"""How each one is started."""
