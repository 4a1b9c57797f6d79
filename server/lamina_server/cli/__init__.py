"""The `lamina-server` command. Knows the application and the store, and no request. Begin with main.py."""
