"""The pipeline: locate, fetch, verify, transmute, upload, record; one package is one coroutine."""
