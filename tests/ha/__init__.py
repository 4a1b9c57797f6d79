"""PostgreSQL with Patroni, etcd and HAProxy before it, whose leaders are killed and frozen: `make ha-torture`."""
