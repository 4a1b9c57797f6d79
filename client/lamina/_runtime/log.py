"""The SDK's logger."""

import logging

log = logging.getLogger("lamina")
"""The logger for events that no caller sees: errors in the background, and retries."""
