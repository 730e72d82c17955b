"""Files that say what an environment needs: one module per format, and one registry."""
