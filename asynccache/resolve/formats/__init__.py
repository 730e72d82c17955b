"""Files that say what an environment needs: one module a format, one registry of them."""
