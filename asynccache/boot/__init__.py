"""What a bare node runs before anything else exists: it turns a packed environment into a prefix.

Standard library, a zstd decoder and, for S3, boto3 only; every Python from 3.7 on. The engine uses the same reader.
`python -m asynccache.boot MANIFEST` is the entry; docs/packed-environments.md describes format and manifest.
"""
