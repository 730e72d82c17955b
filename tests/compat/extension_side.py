"""The extension's half of the round trip: runs where `metaflow-netflixext` is installed, with nothing of ours.

    python extension_side.py read DATASTORE_TYPE ALIAS MUTABLE REQ_ID FULL_ID ARCH
    python extension_side.py write DATASTORE_TYPE NAME URL... (each URL#MD5)

Prints one JSON document as its last line. Everything is done by the extension's public classes and methods.
"""

import hashlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any


def _module(name: str) -> Any:
    return importlib.import_module(f"metaflow_extensions.netflixext.plugins.conda.{name}")


def _conda(datastore: str) -> Any:
    importlib.import_module("metaflow")  # first, since the plugins import it while it imports them
    return _module("conda").Conda(lambda *_args, **_kwargs: None, datastore)


def read(datastore: str, alias: str, mutable: str, req_id: str, full_id: str, arch: str) -> dict[str, Any]:
    conda = _conda(datastore)
    descriptions = _module("env_descr")
    alias_type = _module("utils").AliasType
    env_id = descriptions.EnvID(req_id, full_id, arch)
    found = {
        "immutable": conda.environment_from_alias(alias, arch),
        "mutable": conda.environment_from_alias(mutable, arch),
        "ids": _conda(datastore).environment_from_alias(req_id + ":" + full_id, arch),
    }
    environment = found["immutable"]
    full_alias = _conda(datastore)._remote_fetch_alias([(alias_type.FULL_ID, full_id)], arch)
    deps: dict[str, list[str]] = {}
    sources: dict[str, list[str]] = {}
    for target, values in ((deps, environment.deps), (sources, environment.sources)):
        for value in values:
            target.setdefault(value.category, []).append(value.value)
    packages = {}
    keys = [(p, fmt, c) for p in environment.packages for fmt, c in p.cached_versions]
    with conda.storage.load_bytes([c.url for _p, _fmt, c in keys]) as loaded:
        content = {key: path and hashlib.md5(Path(path).read_bytes()).hexdigest() for key, path, _ in loaded}
    for package, fmt, cached in keys:
        packages[cached.url] = {
            "there": bool(content[cached.url]),
            "verified": content[cached.url] == cached.hash == package.pkg_hash(fmt),
            "same_key": cached.url
            == cached.make_cache_url(package.url, package.filename, fmt, cached.hash, package.is_downloadable_url()),
        }
    return {
        "found": {name: list(env.env_id) if env else None for name, env in found.items()},
        "document": environment.to_dict(),
        "key": conda.get_datastore_path_to_env(env_id),
        "alias_key": conda.get_datastore_path_to_env_alias(alias_type.GENERIC, alias.replace(":", "/")),
        "full_id_alias": [list(each) for each in full_alias if each],
        "req_id": descriptions.ResolvedEnvironment.get_req_id(deps, sources, {}),
        "full_id": descriptions.ResolvedEnvironment._compute_full_id(list(environment.packages), arch, {}),
        "default_here": list(conda.get_default_environment(req_id, arch) or ()),
        "local_only": bool(_conda(datastore).environment(env_id, local_only=True)),
        "packages": packages,
    }


def write(datastore: str, name: str, *urls: str) -> dict[str, Any]:
    conda = _conda(datastore)
    descriptions = _module("env_descr")
    specifications = []
    for text in urls:
        url, _, md5 = text.partition("#")
        filename = url.rsplit("/", 1)[-1]
        extension = ".tar.bz2" if filename.endswith(".tar.bz2") else ".conda"
        specifications.append(
            descriptions.CondaPackageSpecification(
                filename=filename[: -len(extension)], url=url, url_format=extension, hashes={extension: md5}
            )
        )
    environment = descriptions.ResolvedEnvironment(
        {"conda": ["python==3.11.*", "synthetic-0000"]},
        {"conda": ["conda-forge"]},
        {},
        arch="linux-64",
        all_packages=specifications,
        env_type=descriptions.EnvType.CONDA_ONLY,
    )
    conda.cache_environments([environment])
    conda.add_environments([environment])
    conda.set_default_environment(environment.env_id)
    conda.alias_environment(environment.env_id, [name + ":v1", name + ":latest"])
    conda.write_out_environments()
    return {"env_id": list(environment.env_id), "document": environment.to_dict()}


if __name__ == "__main__":
    sides: dict[str, Any] = {"read": read, "write": write}
    result = sides[sys.argv[1]](*sys.argv[2:])
    sys.stdout.write(json.dumps(result) + "\n")
