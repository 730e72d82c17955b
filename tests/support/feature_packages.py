"""Small conda packages, each made for one feature of the format that tools have got wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

from tests.support.conda_package import PLACEHOLDER, Blocks, Member, Metadata
from tests.support.python_package import Interpreter

Recipe = tuple[Metadata, list[Member]]
_MIB: Final = 1 << 20


def _native(name: str, subdir: str, *depends: str) -> Metadata:
    return Metadata(name=name, version="1.0", build="h0_0", subdir=subdir, depends=depends)


def _generic(name: str, *depends: str) -> Metadata:
    return Metadata(name=name, version="1.0", build="h0_0", noarch="generic", depends=depends)


def symbolic_links(subdir: str) -> Recipe:
    """Chained, directory and dangling links, and one that climbs within the prefix."""
    return _native("feature-symlinks", subdir), [
        Member("lib/libfeature.so.1.0", b"\0a library, nearly"),
        Member("lib/libfeature.so.1", symlink="libfeature.so.1.0"),
        Member("lib/libfeature.so", symlink="libfeature.so.1"),
        Member("share/feature-symlinks/real/a.txt", b"a"),
        Member("share/feature-symlinks/directory", symlink="real"),
        Member("share/feature-symlinks/up", symlink="../../lib/libfeature.so"),
        Member("share/feature-symlinks/dangling", symlink="does-not-exist"),
    ]


def hard_links(subdir: str) -> Recipe:
    """One file under two names."""
    return _native("feature-hardlinks", subdir), [
        Member("share/feature-hardlinks/one", b"same" * 1000),
        Member("share/feature-hardlinks/two", hardlink="share/feature-hardlinks/one"),
    ]


def prefix_in_text(subdir: str) -> Recipe:
    """The prefix in a configuration file and in an interpreter line that is longer than a kernel's 127 bytes."""
    config = "etc/feature-prefix-text/config.ini"
    script = f"#!{PLACEHOLDER}/bin/python -I\nprint(open('{PLACEHOLDER}/{config}').read())\n"
    return _native("feature-prefix-text", subdir, "python"), [
        Member(config, f"root = {PLACEHOLDER}\nlib = {PLACEHOLDER}/lib\n".encode()),
        Member("bin/feature-prefix-text", script.encode(), executable=True),
    ]


def prefix_in_binary(subdir: str) -> Recipe:
    """The prefix three times in a binary, twice in one NUL-terminated string."""
    prefix = PLACEHOLDER.encode()
    data = b"\0\1" + prefix + b"/lib:" + prefix + b"/share\0" + b"x" * 64 + prefix + b"\0end"
    return _native("feature-prefix-binary", subdir), [Member("share/feature-prefix-binary/data.bin", data)]


def link_scripts() -> Recipe:
    """Scripts that a linker runs after linking and before unlinking."""
    post = (
        '#!/bin/bash\nmkdir -p "$PREFIX/var" && echo "$PKG_NAME $PKG_VERSION" > "$PREFIX/var/feature-post-link.txt"\n'
    )
    pre = '#!/bin/bash\nrm -f "$PREFIX/var/feature-post-link.txt"\n'
    return _generic("feature-post-link"), [
        Member("bin/.feature-post-link-post-link.sh", post.encode(), executable=True),
        Member("bin/.feature-post-link-pre-unlink.sh", pre.encode(), executable=True),
        Member("share/feature-post-link/readme.txt", b"Linked by a script.\n"),
    ]


def activation_scripts() -> Recipe:
    """Scripts and variables of an activated environment."""
    return _generic("feature-activate"), [
        Member("etc/conda/activate.d/feature-activate.sh", b"export FEATURE_ACTIVE=1\n"),
        Member("etc/conda/deactivate.d/feature-activate.sh", b"unset FEATURE_ACTIVE\n"),
        Member("etc/conda/env_vars.d/feature-activate.json", b'{"FEATURE_VARIABLE": "42"}'),
    ]


def entry_points() -> Recipe:
    """A `noarch: python` package whose command a linker has to write."""
    metadata = Metadata(
        name="feature-entry-point",
        version="1.0",
        build="py_0",
        noarch="python",
        depends=("python",),
        entry_points=("feature-entry-point = feature_entry_point.main:run",),
    )
    return metadata, [
        Member("site-packages/feature_entry_point/__init__.py", b""),
        Member("site-packages/feature_entry_point/main.py", b"def run() -> int:\n    print('it runs')\n    return 0\n"),
    ]


def unusual_names() -> Recipe:
    """Names outside ASCII, with blanks and newer than a tar header's 100 bytes; and an empty file."""
    return _generic("feature-names"), [
        Member("share/feature-names/naïve ☃ file.txt", b"snow"),
        Member("share/feature-names/with blank/x", b"y"),
        Member("share/feature-names/" + "/".join(["a-long-directory-name"] * 8) + "/file", b"deep"),
        Member("share/feature-names/empty", b""),
    ]


def metapackage() -> Recipe:
    """No content at all, only dependencies."""
    return _generic("feature-metapackage", "feature-symlinks", "feature-prefix-text"), []


def python_abi(interpreter: Interpreter) -> Recipe:
    """The package that ties compiled packages to one Python."""
    minor = interpreter.minor_version
    metadata = Metadata(
        name="python_abi",
        version=minor,
        build=f"8_cp{interpreter.tag}",
        build_number=8,
        noarch="generic",
        constrains=(f"python {minor}.* *_cpython",),
    )
    return metadata, []


def many_files(count: int) -> Recipe:
    """Thousands of tiny files."""
    return _generic("feature-many-files"), [
        Member(f"share/feature-many-files/{i % 50:02d}/{i}.txt", f"{i}\n".encode()) for i in range(count)
    ]


def large_file(mib: int) -> Recipe:
    """One file of `mib` MiB, half of it random bytes and half zeros."""

    def generate() -> Iterator[bytes]:
        source = random.Random(1)
        for _ in range(mib):
            yield source.randbytes(_MIB // 2)
            yield bytes(_MIB // 2)

    member = Member("share/feature-large-file/data.bin", Blocks(mib * _MIB, generate))
    return _generic("feature-large-file"), [member]


def variants(subdir: str) -> list[Recipe]:
    """Two builds of one version; `track_features` makes solvers prefer the other one."""
    slow = Metadata(name="feature-variant", version="1.0", build="slow_0", subdir=subdir, track_features="feature_slow")
    fast = Metadata(name="feature-variant", version="1.0", build="fast_0", subdir=subdir)
    return [(m, [Member("share/feature-variant/kind.txt", m.build.encode())]) for m in (slow, fast)]


def unsatisfiable() -> Recipe:
    """Dependencies that nothing in the channel fulfils."""
    return _generic("feature-unsatisfiable", "python <3.0", "no-such-package >=99"), []


def feature_recipes(subdir: str) -> list[Callable[[], Recipe]]:
    """Return the recipes of the small features; `many_files`, `large_file` and `python_abi` take arguments."""
    native = (symbolic_links, hard_links, prefix_in_text, prefix_in_binary)
    recipes: list[Callable[[], Recipe]] = [_bound(recipe, subdir) for recipe in native]
    recipes += [link_scripts, activation_scripts, entry_points, unusual_names, metapackage, unsatisfiable]
    return recipes + [_constant(recipe) for recipe in variants(subdir)]


def _bound(recipe: Callable[[str], Recipe], subdir: str) -> Callable[[], Recipe]:
    return lambda: recipe(subdir)


def _constant(recipe: Recipe) -> Callable[[], Recipe]:
    return lambda: recipe
