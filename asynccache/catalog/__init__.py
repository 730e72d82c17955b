"""Documents and names of environments: in the store for everybody, in the local manifest for this machine."""
