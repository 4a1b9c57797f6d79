"""Lamina: the server. Begin with app.py, which puts the rooms together; server/README.md says what each room is."""
