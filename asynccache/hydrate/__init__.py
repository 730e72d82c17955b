"""From a resolved environment to a prefix on disk: archives out of a store, extracted once a node, linked, atomic."""
