"""The verbs of the command line: one file for a verb, or for a family of them. They never import each other."""
