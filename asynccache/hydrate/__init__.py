"""From a resolved environment to a prefix on disk: archives from a store, extracted once per node, linked, atomic."""
