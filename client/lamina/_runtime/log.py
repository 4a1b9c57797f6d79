"""The SDK's logger."""

import logging

log = logging.getLogger("lamina")
"""Where it is told what a caller may not see: what goes wrong in the background, and what is being tried again."""
