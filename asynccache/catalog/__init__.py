"""Documents and aliases of environments: in the store for all users, in the local manifest for this machine."""
