"""What every other room may need: surviving a fork, and the logger. Knows nothing of Lamina."""
