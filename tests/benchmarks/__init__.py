"""Measurements: `make bench`. Not tests, and not run with them."""
