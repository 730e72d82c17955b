"""A zstd decoder, whichever is available: `zstandard`, the system's library, Python 3.14's own, or `backports.zstd`.

The first two write a frame directly to its destination, in a third of the time of the others, which collect it in
blocks. Nearly every Linux image has the library, since its package tools need it. If there is none of them, a wheel
from the cache's root is used (`publish_zstd_wheels` publishes it).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import importlib
import io
import os
import sys
import tempfile
import zipfile
from typing import Any

from asynccache.node.errors import PackUnusableError
from asynccache.node.pack_format import Decompress, damaged

WHEELS_KEY = "asynccache/zstd/wheels.json"
"""JSON below the cache's root: `cp310-linux-64` -> {"key", "size", "sha256"} of a wheel of that Python and machine."""

_SONAMES = ("libzstd.so.1", "libzstd.1.dylib", "/opt/homebrew/lib/libzstd.dylib", "/usr/local/lib/libzstd.dylib")


def find_decompressor(skip: tuple[str, ...] = ()) -> tuple[str, Decompress] | None:
    """Return (name, function) of the first decoder that works; None if there is none.

    Args:
        skip: Names not to use.
    """
    for name in ("zstandard", "libzstd", "compression.zstd", "backports.zstd"):
        decompress = None if name in skip else _library() if name == "libzstd" else _module(name)
        if decompress is not None:
            return name, decompress
    return None


def wheel_tag(arch: str) -> str:
    """Return the name under which a wheel for this interpreter is published."""
    return "cp%d%d-%s" % (sys.version_info[0], sys.version_info[1], arch)


def use_wheel(data: bytes, sha256: str) -> tuple[str, Decompress]:
    """Load a decoder from a wheel.

    Raises:
        PackUnusableError: The wheel is not what it should be, or this interpreter cannot load it.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise PackUnusableError(f"the zstd wheel in the cache is damaged: expected sha256 {sha256}, found {found}")
    # a loaded library stays mapped after its file is removed
    with tempfile.TemporaryDirectory(prefix="asynccache-zstd-") as directory:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(directory)
        sys.path.insert(0, directory)
        importlib.invalidate_caches()
        backports = sys.modules.get("backports")
        if backports is not None and hasattr(backports, "__path__"):
            backports.__path__ = [os.path.join(directory, "backports"), *backports.__path__]
        decoder = find_decompressor(skip=("compression.zstd", "libzstd"))
        sys.path.remove(directory)
    if decoder is None:
        raise PackUnusableError(f"the zstd wheel in the cache cannot be loaded by Python {sys.version.split()[0]}")
    return decoder


def _module(name: str) -> Decompress | None:
    try:
        module: Any = importlib.import_module(name)
    except ImportError:
        return None

    def decompress(data: bytes, size: int) -> bytes:
        decoder = module.ZstdDecompressor()
        try:
            if name != "zstandard":
                content: bytes = decoder.decompress(data, max_length=size + 1)
            elif module.frame_content_size(data) in {size, -1}:
                content = decoder.decompress(data, max_output_size=size)
            else:  # it would allocate whatever size a frame claims
                raise damaged("a frame is of another size")
        except module.ZstdError as exc:
            raise damaged(f"a frame is no zstd: {exc}") from exc
        if len(content) != size:
            raise damaged("a frame has another size than the index says")
        return content

    return decompress


def _library() -> Decompress | None:
    for path in (*_SONAMES, ctypes.util.find_library("zstd") if sys.platform == "darwin" else None):
        if path is None:
            continue
        try:
            library = ctypes.CDLL(path)
            break
        except OSError:
            continue
    else:
        return None
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    library.ZSTD_isError.restype = ctypes.c_uint
    library.ZSTD_isError.argtypes = [ctypes.c_size_t]
    create = ctypes.pythonapi.PyBytes_FromStringAndSize
    create.restype = ctypes.py_object
    create.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t]

    def decompress(data: bytes, size: int) -> bytes:
        # a bytes object that no other code has seen is filled in place, which saves a copy of every frame
        result: bytes = create(None, size)
        written = library.ZSTD_decompress(result, size, data, len(data))
        if library.ZSTD_isError(written) or written != size:
            raise damaged("a frame is no zstd, or of another size")
        return result

    return decompress
