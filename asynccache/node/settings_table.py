"""Every setting, in one table: name, type, name in Metaflow's configuration, valid values, and description.

Settings, the names that `metaflow.metaflow_config` gets, refusals and the page of settings are made of it. Imported
whenever Metaflow is: Python 3.7, standard library.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from asynccache.node.aws_client import RETRY_WORDS, is_retry_config
from asynccache.node.patience import LONGEST_PAUSE, OUTAGE_SECONDS, THROTTLED_SECONDS, TRIES
from asynccache.node.resolver_table import names_of
from asynccache.node.setting import Setting
from asynccache.node.store_kinds import DATASTORES, LOCAL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import dataclass
    from pathlib import Path
else:

    def dataclass(**_options: bool) -> Any:
        """Return a class unchanged: type checkers see its fields, which are created where the values are."""
        return lambda cls: cls


REQUEST_KINDS = ("list", "get", "head", "put", "delete")
"""Kinds of requests to a store, as prices name them."""
REMOTE_LATEST = (":none:", ":username:", ":any:")

_MIB = 1 << 20
_USER_VARIABLES = ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER")


def default_cache_dir() -> str:
    """Return the user's cache directory for asynccache."""
    from asynccache.node.environments import default_cache_directory  # noqa: PLC0415 - not needed when Metaflow starts

    return default_cache_directory()


def cpu_count() -> int:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_username() -> str:
    """Return the user, as Metaflow finds it: the first of four variables, ignoring `root`."""
    names = [os.environ.get(variable) for variable in _USER_VARIABLES]
    return next((name for name in names if name and name != "root"), "unknown")


def default_sys_packages() -> dict[str, dict[str, str]]:
    """Return the virtual packages that are assumed for an architecture (contract, section 8)."""
    return {"linux-64": {"__glibc": os.environ.get("CONDA_OVERRIDE_GLIBC") or "2.27"}}


def default_builder_packages() -> list[str]:
    """Return what builds need besides pip: the keyring of Google's registry if its credentials are set."""
    return ["keyrings.google-artifactregistry-auth"] if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") else []


def default_s3_endpoint() -> str | None:
    """Return the S3 server configured for AWS's own tools, which is part of a store's identity."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def default_azure_endpoint() -> str | None:
    """Return the blob service configured for Azure's own tools, likewise."""
    if not os.environ.get("AZURE_STORAGE_ACCOUNT") and not os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
        return None
    from asynccache.node.azure_account import default_endpoint  # noqa: PLC0415 - not needed when Metaflow starts

    return default_endpoint()


def default_google_endpoint() -> str | None:
    """Return the emulator configured for Google's own clients, likewise."""
    found = os.environ.get("STORAGE_EMULATOR_HOST")
    return found if not found or "://" in found else "http://" + found


def is_remote_latest(text: str) -> bool:
    """Return whether a text is valid for whose resolutions are used: one word, or names separated by commas
    (`:username:` is one).
    """
    words = [word.strip() for word in text.split(",")]
    alone = len(words) > 1 and (":none:" in words or ":any:" in words)
    return all(words) and not alone and all(word in REMOTE_LATEST for word in words if word.startswith(":"))


def is_prices(found: dict[str, Any]) -> bool:
    """Return whether a map is a valid price list: non-negative numbers by what is charged, and the name of a
    currency.
    """
    rates = {name: rate for name, rate in found.items() if name != "currency"}
    if set(rates) - {*REQUEST_KINDS, "stored", "out"} or not isinstance(found.get("currency", ""), str):
        return False
    return all(type(rate) in (int, float) and 0 <= rate < 1e9 for rate in rates.values())


def setting(
    kind: str,
    default: Any,
    text: str,
    **said: Any,  # further fields of a row of `Setting`
) -> Any:
    """Return the row of a field, which gets the field's name; a type checker sees a default of the field's type."""
    return Setting("", kind, default, text, **said)


# a row is easier to read in two lines than in eight
# fmt: off
@dataclass(frozen=True, kw_only=True)
class SettingFields:
    """Every setting: its name, its type and its row. `asynccache.config.Settings` makes fields of them.

    A setting is added here, and nowhere else.
    """

    __slots__ = ()

    store: str | None = setting("text", None,
            "Root of the store: a path, file://, or s3://bucket/prefix. Unset: the root of the datastore in"
            " Metaflow's configuration (`METAFLOW_CONDA_S3ROOT`, `..._AZUREROOT`, `..._GSROOT` or `..._LOCALROOT`,"
            " else `conda_env` below `METAFLOW_DATASTORE_SYSROOT_S3`, ...); else, with the datastore `local`, `store`"
            " in cache_dir.")
    datastore: str = setting("text", LOCAL,
            "Metaflow's datastore, which decides whose root is the store's. A flow's `--datastore` counts first.",
            metaflow="DEFAULT_DATASTORE", core=True, also=("METAFLOW_DATASTORE",), choices=DATASTORES)
    cache_dir: Path = setting("path", default_cache_dir,
            "This machine's working directory: partial downloads, locks, the embedded store.",
            default_text="`~/.cache/asynccache`; `~/Library/Caches/asynccache` on macOS")
    packages_dirname: str = setting("text", "packages", "Directory of the packages below the root.",
            metaflow="CONDA_PACKAGES_DIRNAME")
    envs_dirname: str = setting("text", "envs", "Directory of the environments below the root.",
            metaflow="CONDA_ENVS_DIRNAME")
    use_remote_latest: str = setting("text", ":none:",
            "Whose resolutions are taken from the store: `:none:`, `:username:`, `:any:`, or user names with commas.",
            metaflow="CONDA_USE_REMOTE_LATEST", check=is_remote_latest,
            words=f"set to one of {list(REMOTE_LATEST)} or to user names with commas between them")
    manifest_name: str = setting("text", "conda_v2.cnd",
            "File name of the local list of environments in Metaflow's local datastore.",
            metaflow="CONDA_MAGIC_FILE_V2")
    datastore_root: Path | None = setting("path", None,
            "Directory that holds Metaflow's local datastore `.metaflow`; unset: the nearest one, upwards from here.",
            metaflow="DATASTORE_SYSROOT_LOCAL", core=True)
    username: str = setting("text", default_username,
            "Who resolves environments and moves their names.", metaflow="USER",
            core=True, default_text="`METAFLOW_USER`, `SUDO_USER`, `USERNAME` or `USER`")
    preferred_format: str = setting("text", "none", "Format that conda packages are wanted in; none: as published.",
            metaflow="CONDA_PREFERRED_FORMAT", flag="--format", choices=(".conda", ".tar.bz2", "none"))
    zstd_level: int = setting("whole", 3,
            "zstd level of written .conda archives.", flag="--level", minimum=1, maximum=22)
    verify_transmute: bool = setting("flag", True, "Compare all members of source and result.")
    unpacked_bytes: int = setting("whole", 65536 * _MIB, "Bytes that one archive may unpack to.", minimum=1)
    unpacked_ratio: float = setting("number", 1000.0,
            "Bytes that one byte of archive may unpack to, beyond 256 MiB in all.",
            minimum=1)
    links_outside: bool = setting("flag", False,
            "Accept archives whose symbolic links are absolute or lead out of the environment.")
    lock_timeout: float = setting("number", 3600.0,
            "Seconds to wait for another process that works on the same package.",
            metaflow="CONDA_LOCK_TIMEOUT", metaflow_default=3600, minimum=0)
    in_flight: int = setting("whole", 64, "Packages being worked on at once.", minimum=1)
    connections: int = setting("whole", 48, "Connections to package sources at once, in all.", minimum=1)
    connections_per_host: int = setting("whole", 16, "Connections to one host at once.", minimum=1)
    store_connections: int = setting("whole", 64, "Connections to the store at once.", minimum=1)
    store_rate: float | None = setting("number", None,
            "Requests per second that one process sends to a remote store at most.",
            flag="--rate", minimum=0.001)
    store_bandwidth: float | None = setting("number", None,
            "Bytes per second that one process moves to and from a remote store at most.", flag="--max-bandwidth",
            minimum=1)
    prices: Mapping[str, Any] = setting("map", dict,
            "What the store costs, for `asynccache plan`: `list`, `get`, `head`, `put`, `delete` for 1,000 requests,"
            " `stored` for a GB (10^9 bytes) and month, `out` for a GB that is read, and `currency`. Unset: no money is"
            " shown.", check=is_prices,
            words="a JSON object of numbers by `list`, `get`, `head`, `put`, `delete`, `stored` and `out`, and a text"
            " `currency`")
    cpu_slots: int = setting("whole", cpu_count,
            "Cores used for decompressing, compressing and verifying.", flag="--jobs",
            minimum=1, default_text="all cores this process may use")
    memory_bytes: int = setting("whole", 128 * _MIB, "Bytes of package data held in memory at once.", minimum=16 * _MIB,
            words=f"a whole number of at least {16 * _MIB}")
    temp_bytes: int = setting("whole", 20480 * _MIB, "Bytes of temporary files at once.", minimum=64 * _MIB,
            words=f"a whole number of at least {64 * _MIB}")
    attempts: int = setting("whole", TRIES,
            "Tries of a request, whatever the time; of a source of packages, before the next source is asked.",
            minimum=1)
    connect_timeout: float = setting("number", 10.0, "Seconds to wait for a connection.", minimum=0.001)
    read_timeout: float = setting("number", 60.0, "Seconds without a byte after which a download counts as stalled.",
            minimum=0.001)
    package_timeout: float = setting("number", 3600.0, "Seconds that one package may take in all.", minimum=0.001)
    retry_cap: float = setting("number", LONGEST_PAUSE,
            "Longest pause between two tries, in seconds, where the server does not ask for another.", minimum=0)
    outage_timeout: float = setting("number", OUTAGE_SECONDS,
            "Seconds for which a store or a source that has answered before may be silent or broken.", minimum=0)
    throttle_timeout: float = setting("number", THROTTLED_SECONDS,
            "Seconds for which a store or a source may refuse because it is asked too often, Retry-After included.",
            minimum=0)
    mirrors: Mapping[str, list[str]] = setting("map of lists", dict,
            "URL prefix -> prefixes to try before it, in order.")
    auth: Mapping[str, list[str]] = setting("map of lists", dict,
            "Host (or host:port) -> [user, password]; address -> [the same address with its token or signature].",
            metaflow="CONDA_SRCS_AUTH_INFO", secret=True)
    conda_dependency_resolver: str | None = setting("text", None,
            "Who solves conda environments; unset: mamba when it is found, else the built-in rattler, said in one"
            " line.", metaflow="CONDA_DEPENDENCY_RESOLVER", metaflow_default="mamba",
            choices=names_of("conda"))
    pypi_dependency_resolver: str = setting("text", "uv",
            "Who solves environments of PyPI packages; none: refuse them.",
            metaflow="CONDA_PYPI_DEPENDENCY_RESOLVER", choices=(*names_of("pypi"), "none"), null="none")
    mixed_dependency_resolver: str | None = setting("text", None,
            "Who solves environments of both kinds; unset: conda-lock when it and an executable are found, else built"
            " in.", metaflow="CONDA_MIXED_DEPENDENCY_RESOLVER", metaflow_default="conda-lock",
            choices=(*names_of("mixed"), "none"), null="none")
    channels: list[str] | None = setting("texts", None,
            "Channels that requests are solved against after their own, highest priority first. Unset: those that the"
            " conda program, else conda's configuration files and `CONDA_CHANNELS`, name; else `conda-forge`.",
            metaflow="CONDA_CHANNELS", default_text="as conda is configured")
    channel_alias: str = setting(
            "text", "https://conda.anaconda.org", "The address of channels that are given by a bare name.")
    hack_channel_alias: str | None = setting("text", None,
            "Host and path of a mirror that counts as conda.anaconda.org in requests and documents.",
            metaflow="CONDA_HACK_CHANNEL_ALIAS")
    conda_local_path: Path | None = setting("path", None,
            "Installation whose programs are used instead of those on PATH, once it holds `.metaflow-local-env`.",
            metaflow="CONDA_LOCAL_PATH")
    local_dist_dirname: str | None = setting("text", None, "Directory below the root that holds local_dist.",
            metaflow="CONDA_LOCAL_DIST_DIRNAME")
    local_dist: str | None = setting("text", None,
            "Tar archive in the store that is unpacked into conda_local_path when that is empty or came out of another"
            " version of it, `{arch}` replaced.",
            metaflow="CONDA_LOCAL_DIST")
    default_pypi_source: str | None = setting("text", None,
            "Index asked first, instead of those that pip is configured with.",
            metaflow="CONDA_DEFAULT_PYPI_SOURCE")
    sys_default_packages: Mapping[str, dict[str, str]] = setting("map of maps", default_sys_packages,
            "Architecture -> virtual package -> version, where the machine itself does not tell.",
            metaflow="CONDA_SYS_DEFAULT_PACKAGES",
            default_text="`__glibc` of `linux-64` is `CONDA_OVERRIDE_GLIBC`, else 2.27")
    sys_default_gpu_packages: Mapping[str, str] = setting("map of texts", dict,
            "Virtual package -> version, laid over the defaults for a step that asks for a GPU.",
            metaflow="CONDA_SYS_DEFAULT_GPU_PACKAGES")
    sys_markers: Mapping[str, dict[str, str]] = setting("map of maps", dict,
            "Architecture -> environment marker -> value, where it differs from what the architecture implies.",
            metaflow="CONDA_SYS_MARKERS")
    pin_virtual_packages: bool = setting("flag", False,
            "Take virtual packages from sys_default_packages also for this machine, so that a team shares ids.")
    conda_equals: str = setting("text", "exact",
            "What `name=1.2` means in an environment.yml: `exact` is 1.2 alone, as Metaflow's extension reads it,"
            " `fuzzy` every 1.2, as conda does; ids differ.",
            choices=("exact", "fuzzy"))
    builder_env_packages: list[str] = setting("texts", default_builder_packages,
            "Conda packages that environments for building wheels get in addition.",
            metaflow="CONDA_BUILDER_ENV_PACKAGES",
            default_text="none; Google's keyring where `GOOGLE_APPLICATION_CREDENTIALS` is set")
    all_archs: list[str] = setting("texts", lambda: ["linux-64", "osx-64", "osx-arm64"],
            "Architectures searched for the source of a request that is resolved again.", metaflow="CONDA_ALL_ARCHS",
            default_text="`linux-64`, `osx-64`, `osx-arm64`")
    resolve_timeout: float = setting("number", 600.0, "Seconds that resolving one environment may take.", minimum=0.001)
    offline: bool = setting("flag", False, "Ask no channel and no index: what was fetched before must do.")
    exclude_newer: str | None = setting("text", None,
            "Leave out what was published after this date (2026-01-31, or with a time and zone).")
    name_mapping: Path | None = setting("path", None,
            "JSON file: name on conda -> name on PyPI, where they differ; laid over the built-in one.")
    environments_dir: Path | None = setting("path", None,
            "Directory of local environments; unset: `envs` in cache_dir.")
    package_dirs: list[str] = setting("texts", list,
            "Further directories of packages on this machine: searched, never written.")
    link_scripts: bool = setting("flag", True, "Run the scripts that packages bring for after linking.")
    pack: str = setting("text", "auto",
            "Packed environments: `auto` makes them of what is cached in a store that other machines read (S3) and of"
            " steps that run elsewhere, `always` of all that is cached; `never` makes and reads none.",
            metaflow="CONDA_PACK", also=("CONDA_PACK",), choices=("auto", "always", "never"))
    trust: str = setting("text", "note",
            "Environments without a digest: `note` uses them and says what does not fit together in their documents;"
            " `require` installs those alone that this machine resolved or whose digest is named (NAME@sha256:...).",
            metaflow="CONDA_TRUST", also=("CONDA_TRUST",), choices=("note", "require"))
    remote_installer_dirname: str | None = setting("text", None,
            "Directory below the root that holds remote_installer.",
            metaflow="CONDA_REMOTE_INSTALLER_DIRNAME", also=("CONDA_REMOTE_INSTALLER_DIRNAME",))
    remote_installer: str | None = setting("text", None,
            "Name of the engine's bundle for nodes, `{arch}` replaced; unset: published where asynccache chooses.",
            metaflow="CONDA_REMOTE_INSTALLER", also=("CONDA_REMOTE_INSTALLER",))
    node_digests: list[str] = setting("texts", list,
            "sha256 of engines and decoders that others published (`asynccache installer`) and that nodes may run.",
            metaflow="CONDA_NODE_DIGESTS", also=("CONDA_NODE_DIGESTS",))
    derived_digests: list[str] = setting("texts", list,
            "Derived archives of conda packages that others compared and that may be used, `PUBLISHED=DERIVED`: md5 or"
            " sha256 of the published archive, sha256 of the derived one.")
    compile_bytecode: bool = setting("flag", False, "Compile the Python files of new environments.")
    s3_endpoint_url: str | None = setting("text", default_s3_endpoint,
            "Address of a private S3 server; implies path-style addressing.", metaflow="S3_ENDPOINT_URL", core=True,
            default_text="`AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`")
    azure_endpoint: str | None = setting("text", default_azure_endpoint,
            "Address of the blob service of an account of Azure Storage; may hold a shared access signature.",
            metaflow="AZURE_STORAGE_BLOB_SERVICE_ENDPOINT", core=True,
            default_text="of `AZURE_STORAGE_CONNECTION_STRING` or `AZURE_STORAGE_ACCOUNT`")
    google_endpoint: str | None = setting("text", default_google_endpoint,
            "Address of a server that speaks Google Cloud Storage's protocol; by http it is asked without credentials.",
            default_text="`STORAGE_EMULATOR_HOST`")
    s3_profile: str | None = setting("text", None, "AWS profile; unset: as AWS tools decide.")
    s3_region: str | None = setting("text", None, "AWS region; unset: as AWS tools decide.")
    s3_server_side_encryption: str | None = setting("text", None,
            "Encryption that objects are put with, `AES256` or `aws:kms`, where the bucket demands one.",
            metaflow="S3_SERVER_SIDE_ENCRYPTION", core=True)
    s3_verify_certificate: str | None = setting("text", None,
            "File of certificates that the S3 server's is checked with; `false`: it is not checked.",
            metaflow="S3_VERIFY_CERTIFICATE", core=True)
    s3_client_retry_config: Mapping[str, Any] = setting("map", dict,
            "How often a request to an S3 store is tried, as botocore has it: `max_attempts` besides the first one, or"
            " `total_max_attempts`; `mode` changes nothing. Unset: `attempts`.",
            metaflow="S3_CLIENT_RETRY_CONFIG", core=True,
            metaflow_default={"max_attempts": 10, "mode": "adaptive"}, check=is_retry_config,
            words=RETRY_WORDS)
    s3_client_provider: str | None = setting("text", None,
            "Plugin of Metaflow's that gives the credentials for S3; unset or `boto3`: as AWS tools decide.",
            metaflow="DEFAULT_AWS_CLIENT_PROVIDER", core=True, metaflow_default="boto3")
    azure_client_provider: str | None = setting("text", None,
            "Plugin of Metaflow's that gives tokens for Azure where neither key nor signature is set; unset or"
            " `azure-default`: `DefaultAzureCredential`.",
            metaflow="DEFAULT_AZURE_CLIENT_PROVIDER", core=True, metaflow_default="azure-default")
    google_client_provider: str | None = setting("text", None,
            "Plugin of Metaflow's that gives the credentials for Google Cloud Storage; unset or `gcp-default`:"
            " Application Default Credentials.",
            metaflow="DEFAULT_GCP_CLIENT_PROVIDER", core=True, metaflow_default="gcp-default")


_ONLY_METAFLOWS = (
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
"""What only Metaflow knows."""
# fmt: on
SETTINGS = (
    *(row._replace(name=name) for name, row in vars(SettingFields).items() if isinstance(row, Setting)),
    *_ONLY_METAFLOWS,
)
"""Every row."""


def local_endpoint(name: str) -> str | None:
    """Return the address of a service from variables of this process, by the name of its setting."""
    row = next((row for row in SETTINGS if row.name and row.name == name), None)
    if row is None:
        return None
    said: str | None = os.environ.get("METAFLOW_" + row.metaflow) if row.metaflow else None
    return said or (row.default() if callable(row.default) else row.default)
