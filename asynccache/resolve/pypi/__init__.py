"""PyPI packages: indexes, and the resolvers of them."""
