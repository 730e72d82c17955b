"""The extension's half of the round trip: runs where `metaflow-netflixext` is installed, with nothing of ours.

    python extension_side.py read DATASTORE_TYPE ALIAS MUTABLE REQ_ID FULL_ID ARCH
    python extension_side.py write DATASTORE_TYPE NAME URL... (each URL#MD5)
    python extension_side.py request DATASTORE_TYPE FILE (what a flow's `environment show --output FILE` says)
    python extension_side.py move DATASTORE_TYPE ALIAS DIRECTORY
    python extension_side.py created DATASTORE_TYPE REQ_ID FULL_ID ARCH
    python extension_side.py keys DATASTORE_TYPE URL...
    python extension_side.py beside DIRECTORY NAME (a name is written for each line of standard input)

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


def request(datastore: str, file: str) -> dict[str, Any]:
    """Make an environment of one package for each request, the default of its id."""
    conda = _conda(datastore)
    descriptions, utils = _module("env_descr"), _module("utils")
    made = {}
    for step, asked in json.loads(Path(file).read_text()).items():
        if asked["is_disabled"]:
            continue
        package = descriptions.CondaPackageSpecification(
            filename="a-1-0", url="https://host.test/ch/noarch/a-1-0.conda", url_format=".conda",
            hashes={".conda": hashlib.md5(step.encode()).hexdigest()},
        )  # fmt: skip
        environment = descriptions.ResolvedEnvironment(
            {category: utils.dict_to_strlist(deps) for category, deps in asked["requested_packages"].items() if deps},
            asked["requested_sources"],
            {},
            arch="linux-64",
            all_packages=[package],
        )
        conda.add_environments([environment])
        conda.set_default_environment(environment.env_id)
        made[step] = list(environment.env_id)
    conda.write_out_environments()
    return made


def move(datastore: str, alias: str, directory: str) -> dict[str, Any]:
    """Fetch packages as for an environment that is made here: out of a local root they are moved."""
    conda = _conda(datastore)
    packages = list(conda.environment_from_alias(alias, "linux-64").packages)
    Path(directory).mkdir()
    conda.lazy_fetch_packages(packages, None, directory)
    return {"moved": sorted(path for package in packages for _fmt, path in package.local_files)}


def created(datastore: str, req_id: str, full_id: str, arch: str) -> dict[str, Any]:
    found = _conda(datastore).created_environment(_module("env_descr").EnvID(req_id, full_id, arch))
    return {"prefix": found and found[1]}


def keys(datastore: str, *urls: str) -> dict[str, Any]:
    del datastore
    importlib.import_module("metaflow")
    make = _module("env_descr").CondaCachePackage.make_cache_url
    return {url: make(url, "a-1-0", ".conda", "0" * 32, True) for url in urls}


def beside(directory: str, name: str) -> dict[str, Any]:
    importlib.import_module("metaflow")
    descriptions = _module("env_descr")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        names = {f"theirs/{name}-{line.strip()}": ("0" * 40, "1" * 40)}
        descriptions.write_to_conda_manifest(directory, descriptions.CachedEnvironmentInfo(env_aliases=names))
        sys.stdout.write(line)
        sys.stdout.flush()
    return {}


if __name__ == "__main__":
    sides: dict[str, Any] = {
        "read": read, "write": write, "request": request, "move": move, "created": created, "keys": keys,
        "beside": beside,
    }  # fmt: skip
    result = sides[sys.argv[1]](*sys.argv[2:])
    sys.stdout.write(json.dumps(result) + "\n")
