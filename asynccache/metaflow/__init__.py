"""The Metaflow integration. What steps import is Python 3.7 syntax, standard library and Metaflow only."""
