"""Tests of who may do what: closed servers, hostile peers, and what must not get out. `make security` runs them."""
