"""Every setting, in one table: fields, names in Metaflow's configuration, what is right, and what they are.

Settings, the names that `metaflow.metaflow_config` gets, refusals and the page of settings are made of it. Imported
whenever Metaflow is: Python 3.7, standard library.
"""

from __future__ import annotations

import os

from asynccache.node.setting import Setting

DATASTORES = {"local": "LOCAL", "s3": "S3", "azure": "AZURE", "gs": "GS"}
"""Type of a datastore -> what it is called in the names of roots."""
REMOTE_LATEST = (":none:", ":username:", ":any:")

_MIB = 1 << 20
_USER_VARIABLES = ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER")


def default_cache_dir() -> str:
    """Return the user's cache directory for asynccache."""
    from asynccache.node.environments import default_cache_directory  # noqa: PLC0415 - Metaflow's start does without

    return default_cache_directory()


def cpu_count() -> int:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_username() -> str:
    """Return who works here, as Metaflow finds it out: the first of four variables, `root` not counting."""
    names = [os.environ.get(variable) for variable in _USER_VARIABLES]
    return next((name for name in names if name and name != "root"), "unknown")


def default_sys_packages() -> dict[str, dict[str, str]]:
    """Return the virtual packages that an architecture is taken to have (contract, section 8)."""
    return {"linux-64": {"__glibc": os.environ.get("CONDA_OVERRIDE_GLIBC") or "2.27"}}


def default_builder_packages() -> list[str]:
    """Return what builds need besides pip: the keyring of Google's registry where its credentials are set."""
    return ["keyrings.google-artifactregistry-auth"] if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") else []


def default_s3_endpoint() -> str | None:
    """Return the S3 server that AWS's own tools are told of, so that it is part of what a store is."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def is_remote_latest(text: str) -> bool:
    """Tell whether a text says whose resolutions are taken: one word, or names with commas (`:username:` is one)."""
    words = [word.strip() for word in text.split(",")]
    alone = len(words) > 1 and (":none:" in words or ":any:" in words)
    return all(words) and not alone and all(word in REMOTE_LATEST for word in words if word.startswith(":"))


# a row is read better in two lines than in eight
# fmt: off
SETTINGS = (
    Setting("store", "text", None,
            "Root of the store: a path, file://, or s3://bucket/prefix. Unset: the root of the datastore in"
            " Metaflow's configuration (`METAFLOW_CONDA_S3ROOT`, `..._AZUREROOT`, `..._GSROOT` or `..._LOCALROOT`,"
            " else `conda_env` below `METAFLOW_DATASTORE_SYSROOT_S3`, ...); else, with the datastore `local`, `store`"
            " in cache_dir."),
    Setting("datastore", "text", "local",
            "Metaflow's datastore, which decides whose root is the store's. A flow's `--datastore` counts first.",
            metaflow="DEFAULT_DATASTORE", core=True, also=("METAFLOW_DATASTORE",), choices=tuple(DATASTORES)),
    Setting("cache_dir", "path", default_cache_dir,
            "This machine's working directory: partial downloads, locks, the embedded store.",
            default_text="`~/.cache/asynccache`; `~/Library/Caches/asynccache` on macOS"),
    Setting("packages_dirname", "text", "packages", "Directory of the packages below the root.",
            metaflow="CONDA_PACKAGES_DIRNAME"),
    Setting("envs_dirname", "text", "envs", "Directory of the environments below the root.",
            metaflow="CONDA_ENVS_DIRNAME"),
    Setting("use_remote_latest", "text", ":none:",
            "Whose resolutions are taken from the store: `:none:`, `:username:`, `:any:`, or user names with commas.",
            metaflow="CONDA_USE_REMOTE_LATEST", check=is_remote_latest,
            words=f"set to one of {list(REMOTE_LATEST)} or to user names with commas between them"),
    Setting("manifest_name", "text", "conda_v2.cnd",
            "File name of this machine's list of environments in Metaflow's local datastore.",
            metaflow="CONDA_MAGIC_FILE_V2"),
    Setting("datastore_root", "path", None,
            "Directory that holds Metaflow's local datastore `.metaflow`; unset: the nearest one at or above here.",
            metaflow="DATASTORE_SYSROOT_LOCAL", core=True),
    Setting("username", "text", default_username, "Who resolves environments and moves their names.", metaflow="USER",
            core=True, default_text="`METAFLOW_USER`, `SUDO_USER`, `USERNAME` or `USER`"),
    Setting("preferred_format", "text", "none", "Format that conda packages are wanted in; none: as published.",
            metaflow="CONDA_PREFERRED_FORMAT", flag="--format", choices=(".conda", ".tar.bz2", "none")),
    Setting("zstd_level", "whole", 3, "zstd level of written .conda archives.", flag="--level", minimum=1, maximum=22),
    Setting("verify_transmute", "flag", True, "Compare all members of source and result."),
    Setting("unpacked_bytes", "whole", 65536 * _MIB, "Bytes that one archive may unpack to.", minimum=1),
    Setting("unpacked_ratio", "number", 1000.0, "Bytes that one byte of archive may unpack to, beyond 256 MiB in all.",
            minimum=1),
    Setting("links_outside", "flag", False,
            "Accept archives whose symbolic links are absolute or lead out of the environment."),
    Setting("lock_timeout", "number", 3600.0, "Seconds to wait for another process that works on the same package.",
            metaflow="CONDA_LOCK_TIMEOUT", metaflow_default=3600, minimum=0),
    Setting("in_flight", "whole", 64, "Packages being worked on at once.", minimum=1),
    Setting("connections", "whole", 48, "Connections to package sources at once, in all.", minimum=1),
    Setting("connections_per_host", "whole", 16, "Connections to one host at once.", minimum=1),
    Setting("store_connections", "whole", 64, "Connections to the store at once.", minimum=1),
    Setting("cpu_slots", "whole", cpu_count, "Cores used for decompressing, compressing and verifying.", flag="--jobs",
            minimum=1, default_text="all cores this process may use"),
    Setting("memory_bytes", "whole", 128 * _MIB, "Bytes of package data held in memory at once.", minimum=16 * _MIB,
            words=f"a whole number of at least {16 * _MIB}"),
    Setting("temp_bytes", "whole", 20480 * _MIB, "Bytes of temporary files at once.", minimum=64 * _MIB,
            words=f"a whole number of at least {64 * _MIB}"),
    Setting("attempts", "whole", 5, "Tries per source before the next source is asked.", minimum=1),
    Setting("connect_timeout", "number", 10.0, "Seconds to wait for a connection.", minimum=0.001),
    Setting("read_timeout", "number", 60.0, "Seconds without a byte after which a download counts as stalled.",
            minimum=0.001),
    Setting("package_timeout", "number", 3600.0, "Seconds that one package may take in all.", minimum=0.001),
    Setting("retry_cap", "number", 30.0,
            "Longest pause between two tries, in seconds; Retry-After up to ten times that.", minimum=0),
    Setting("mirrors", "map of lists", dict, "URL prefix -> prefixes to try before it, in order."),
    Setting("auth", "map of lists", dict, "Host (or host:port) -> [user, password].", metaflow="CONDA_SRCS_AUTH_INFO",
            secret=True),
    Setting("conda_dependency_resolver", "text", None,
            "Who solves conda environments; unset: mamba when it is found, else the built-in rattler, said in one"
            " line.", metaflow="CONDA_DEPENDENCY_RESOLVER", metaflow_default="mamba",
            choices=("mamba", "conda", "micromamba", "rattler")),
    Setting("pypi_dependency_resolver", "text", "uv", "Who solves environments of PyPI packages; none: refuse them.",
            metaflow="CONDA_PYPI_DEPENDENCY_RESOLVER", choices=("uv", "pip", "none"), null="none"),
    Setting("mixed_dependency_resolver", "text", None,
            "Who solves environments of both kinds; unset: conda-lock when it and an executable are found, else built"
            " in.", metaflow="CONDA_MIXED_DEPENDENCY_RESOLVER", metaflow_default="conda-lock",
            choices=("conda-lock", "builtin", "none"), null="none"),
    Setting("channels", "texts", lambda: ["conda-forge"],
            "Channels that requests are solved against after their own, highest priority first.",
            metaflow="CONDA_CHANNELS", also=("CONDA_CHANNELS",), default_text="`conda-forge`"),
    Setting("channel_alias", "text", "https://conda.anaconda.org", "Where a channel that is a bare name lies."),
    Setting("hack_channel_alias", "text", None,
            "Host and path of a mirror that counts as conda.anaconda.org in requests and documents.",
            metaflow="CONDA_HACK_CHANNEL_ALIAS"),
    Setting("conda_local_path", "path", None,
            "Installation whose programs are used instead of those on PATH, once it holds `.metaflow-local-env`.",
            metaflow="CONDA_LOCAL_PATH"),
    Setting("local_dist_dirname", "text", None, "Directory below the root that holds local_dist.",
            metaflow="CONDA_LOCAL_DIST_DIRNAME"),
    Setting("local_dist", "text", None,
            "Tar archive in the store that is unpacked into conda_local_path when that is missing, `{arch}` replaced.",
            metaflow="CONDA_LOCAL_DIST"),
    Setting("default_pypi_source", "text", None, "Index asked first, instead of those that pip is configured with.",
            metaflow="CONDA_DEFAULT_PYPI_SOURCE"),
    Setting("sys_default_packages", "map of maps", default_sys_packages,
            "Architecture -> virtual package -> version, where the machine itself does not tell.",
            metaflow="CONDA_SYS_DEFAULT_PACKAGES",
            default_text="`__glibc` of `linux-64` is `CONDA_OVERRIDE_GLIBC`, else 2.27"),
    Setting("sys_default_gpu_packages", "map of texts", dict,
            "Virtual package -> version, laid over the defaults for a step that asks for a GPU.",
            metaflow="CONDA_SYS_DEFAULT_GPU_PACKAGES"),
    Setting("sys_markers", "map of maps", dict,
            "Architecture -> environment marker -> value, where it differs from what the architecture implies.",
            metaflow="CONDA_SYS_MARKERS"),
    Setting("pin_virtual_packages", "flag", False,
            "Take virtual packages from sys_default_packages also for this machine, so that a team shares ids."),
    Setting("builder_env_packages", "texts", default_builder_packages,
            "Conda packages that environments for building wheels get in addition.",
            metaflow="CONDA_BUILDER_ENV_PACKAGES",
            default_text="none; Google's keyring where `GOOGLE_APPLICATION_CREDENTIALS` is set"),
    Setting("all_archs", "texts", lambda: ["linux-64", "osx-64", "osx-arm64"],
            "Architectures searched for the source of a request that is resolved again.", metaflow="CONDA_ALL_ARCHS",
            default_text="`linux-64`, `osx-64`, `osx-arm64`"),
    Setting("resolve_timeout", "number", 600.0, "Seconds that resolving one environment may take.", minimum=0.001),
    Setting("offline", "flag", False, "Ask no channel and no index: what was fetched before must do."),
    Setting("exclude_newer", "text", None,
            "Leave out what was published after this date (2026-01-31, or with a time and zone)."),
    Setting("name_mapping", "path", None,
            "JSON file: name on conda -> name on PyPI, where they differ; laid over the built-in one."),
    Setting("environments_dir", "path", None, "Directory of this machine's environments; unset: `envs` in cache_dir."),
    Setting("package_dirs", "texts", list, "Further directories of packages on this machine: searched, never written."),
    Setting("link_scripts", "flag", True, "Run the scripts that packages bring for after linking."),
    Setting("pack", "text", "auto",
            "Packed environments: `auto` makes them of what is cached in a store that other machines read (S3) and of"
            " steps that run elsewhere, `always` of all that is cached; `never` makes and reads none.",
            metaflow="CONDA_PACK", also=("CONDA_PACK",), choices=("auto", "always", "never")),
    Setting("remote_installer_dirname", "text", None, "Directory below the root that holds remote_installer.",
            metaflow="CONDA_REMOTE_INSTALLER_DIRNAME", also=("CONDA_REMOTE_INSTALLER_DIRNAME",)),
    Setting("remote_installer", "text", None,
            "Name of the engine's bundle for nodes, `{arch}` replaced; unset: published where asynccache chooses.",
            metaflow="CONDA_REMOTE_INSTALLER", also=("CONDA_REMOTE_INSTALLER",)),
    Setting("node_digests", "texts", list,
            "sha256 of engines and decoders that others published (`asynccache installer`) and that nodes may run.",
            metaflow="CONDA_NODE_DIGESTS", also=("CONDA_NODE_DIGESTS",)),
    Setting("compile_bytecode", "flag", False, "Compile the Python files of new environments."),
    Setting("s3_endpoint_url", "text", default_s3_endpoint,
            "Address of a private S3 server; implies path-style addressing.", metaflow="S3_ENDPOINT_URL", core=True,
            default_text="`AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`"),
    Setting("s3_profile", "text", None, "AWS profile; unset: as AWS tools decide."),
    Setting("s3_region", "text", None, "AWS region; unset: as AWS tools decide."),
    # from here on, what only Metaflow knows
    Setting("", "text", "pylock_toml", "Who reads `pylock.toml`.", metaflow="PYLOCK_TOML_DEPENDENCY_RESOLVER",
            choices=("pylock_toml",)),
    Setting("", "texts", lambda: ["batch", "kubernetes"], "Decorators whose steps run elsewhere.",
            metaflow="CONDA_REMOTE_COMMANDS", default_text="`batch`, `kubernetes`"),
    Setting("", "texts", list, "Types of datastores for which nothing is cached.",
            metaflow="CONDA_IGNORE_CACHING_DATASTORES"),
    Setting("", "flag", False, "Accepted, and changes nothing.", metaflow="CONDA_TEST"),
    Setting("", "text", "env", "Who gives tokens to `@huggingface`.", metaflow="HUGGINGFACE_AUTH_PROVIDER"),
    Setting("", "map of texts", dict, "Provider of tokens -> `module.Class`.", metaflow="HUGGINGFACE_AUTH_PROVIDERS"),
    Setting("", "text", None, "Address of the hub.", metaflow="HUGGINGFACE_ENDPOINT"),
    Setting("", "text", None, "Directory of snapshots.", metaflow="HUGGINGFACE_LOCAL_DIR"),
    Setting("", "whole", 300, "Seconds without any progress after which fetching a model fails.",
            metaflow="HUGGINGFACE_DOWNLOAD_TIMEOUT", minimum=1, words="a positive integer"),
)
# fmt: on
