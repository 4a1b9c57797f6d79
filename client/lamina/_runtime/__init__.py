"""What every other room may need: surviving a fork, the logger, the public names. Knows nothing of Lamina."""
