"""Where configs are kept: the contract, a store in memory, and one on SQL."""
