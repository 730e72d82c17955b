"""Configurations of asynccache and Metaflow as they are met, and what every front has to make of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

USER = "home/.metaflowconfig/config.json"
PROFILE = "home/.metaflowconfig/config_{}.json"
PROJECT = "work/.metaflow/config.json"
OWN = "home/.config/asynccache/config.toml"
EMBEDDED = "/PLACE/home/.cache/asynccache/store"
S3 = {"METAFLOW_DEFAULT_DATASTORE": "s3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One configuration.

    Attributes:
        name: What it is about.
        variables: Environment variables.
        files: Path -> text, or what becomes JSON.
        datastore: The flag `--datastore`.
        store: The root that is right.
        values: Other settings -> values that are right.
        refused: A part of the sentence with which all fronts refuse it.
        bare: Keys that `asynccache config` tells of.
    """

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)
    datastore: str = ""
    store: str | None = EMBEDDED
    values: dict[str, Any] = field(default_factory=dict)
    refused: str = ""
    bare: tuple[str, ...] = ()


def _refused(name: str, words: str, variables: dict[str, str] | None = None, **files: Any) -> Configuration:
    places = {"user": USER, "project": PROJECT, "own": OWN}
    return Configuration(
        name=name, variables=variables or {}, files={places[p]: c for p, c in files.items()}, refused=words
    )


CONFIGURATIONS = (
    # where the store is
    Configuration(name="nothing is set"),
    Configuration(
        name="a bare key in the user's file, as the documentation of the other extension shows it",
        files={USER: {"CONDA_S3ROOT": "s3://bare/x", **S3}},
        store="s3://bare/x",
        bare=("CONDA_S3ROOT",),
    ),
    Configuration(
        name="a prefixed key beats a bare one",
        files={USER: {"CONDA_S3ROOT": "s3://bare/x", "METAFLOW_CONDA_S3ROOT": "s3://prefixed/x", **S3}},
        store="s3://prefixed/x",
    ),
    Configuration(
        name="a prefixed key of the user beats a bare one of the project",
        files={PROJECT: {"CONDA_S3ROOT": "s3://bare/x"}, USER: {"METAFLOW_CONDA_S3ROOT": "s3://prefixed/x", **S3}},
        store="s3://prefixed/x",
    ),
    Configuration(
        name="the root follows from the datastore's",
        files={USER: {"METAFLOW_DATASTORE_SYSROOT_S3": "s3://sys/x/", **S3}},
        store="s3://sys/x/conda_env",
    ),
    Configuration(
        name="the root follows from variables",
        variables={"METAFLOW_DATASTORE_SYSROOT_S3": "s3://sys/x", **S3},
        store="s3://sys/x/conda_env",
    ),
    Configuration(
        name="a root in the file beats one that follows from a variable",
        variables={"METAFLOW_DATASTORE_SYSROOT_S3": "s3://sys/x", **S3},
        files={USER: {"METAFLOW_CONDA_S3ROOT": "s3://file/x"}},
        store="s3://file/x",
    ),
    Configuration(
        name="the datastore local uses no S3 root", variables={"METAFLOW_CONDA_S3ROOT": "s3://team/conda_env"}
    ),
    Configuration(
        name="nor one that follows from where S3 lies", files={USER: {"METAFLOW_DATASTORE_SYSROOT_S3": "s3://team/mf"}}
    ),
    Configuration(
        name="nor Azure's or Google's",
        variables={"METAFLOW_CONDA_AZUREROOT": "container/x", "METAFLOW_CONDA_GSROOT": "gs://b/x"},
    ),
    Configuration(
        name="the flag chooses the datastore",
        variables={"METAFLOW_CONDA_S3ROOT": "s3://team/conda_env"},
        datastore="s3",
        store="s3://team/conda_env",
    ),
    Configuration(
        name="the flag beats the configured datastore",
        variables={"METAFLOW_CONDA_S3ROOT": "s3://team/conda_env", **S3},
        datastore="local",
        values={"datastore": "local"},
    ),
    Configuration(
        name="a variable chooses the datastore of flows",
        variables={"METAFLOW_DATASTORE": "s3", "METAFLOW_CONDA_S3ROOT": "s3://team/conda_env"},
        store="s3://team/conda_env",
    ),
    Configuration(
        name="a local root",
        variables={"METAFLOW_CONDA_LOCALROOT": "/data/conda"},
        store="/data/conda",
    ),
    Configuration(
        name="a local root that follows from where the datastore lies",
        variables={"METAFLOW_DATASTORE_SYSROOT_LOCAL": "/data/mf"},
        store="/data/mf/conda_env",
        values={"datastore_root": "/data/mf"},
    ),
    Configuration(
        name="Azure's root without a scheme is no directory",
        variables={"METAFLOW_DEFAULT_DATASTORE": "azure", "METAFLOW_DATASTORE_SYSROOT_AZURE": "my-container/mf"},
        store="az://my-container/mf/conda_env",
    ),
    Configuration(
        name="Azure's root as the documentation writes it",
        files={USER: {"METAFLOW_DEFAULT_DATASTORE": "azure", "METAFLOW_CONDA_AZUREROOT": "az://c/x"}},
        store="az://c/x",
    ),
    Configuration(
        name="Google's root",
        files={USER: {"METAFLOW_DEFAULT_DATASTORE": "gs", "METAFLOW_DATASTORE_SYSROOT_GS": "gs://b/mf"}},
        store="gs://b/mf/conda_env",
    ),
    Configuration(name="a datastore without a root has no store", variables=S3, store=None),
    Configuration(
        name="our own variable beats Metaflow's",
        variables={"ASYNCCACHE_STORE": "/own", "METAFLOW_CONDA_S3ROOT": "s3://a/b", **S3},
        store="/own",
    ),
    Configuration(
        name="our own file beats Metaflow's, and not its variables",
        variables={"METAFLOW_CONDA_PREFERRED_FORMAT": ".tar.bz2"},
        files={
            OWN: 'store = "s3://own/x"\npreferred_format = ".conda"\npack = "never"\n',
            USER: {"METAFLOW_CONDA_S3ROOT": "s3://a/b", "METAFLOW_CONDA_PACK": "always", **S3},
        },
        store="s3://own/x",
        values={"preferred_format": ".tar.bz2", "pack": "never"},
    ),
    Configuration(
        name="our own file beats a root that only follows",
        variables={"METAFLOW_DATASTORE_SYSROOT_S3": "s3://sys/x", **S3},
        files={OWN: 'store = "/own"\n'},
        store="/own",
    ),
    Configuration(
        name="an own root without a scheme is a directory, whatever the datastore",
        variables={"ASYNCCACHE_STORE": "/data/x", "METAFLOW_DEFAULT_DATASTORE": "azure"},
        store="/data/x",
    ),
    # where Metaflow's files are
    Configuration(
        name="a profile",
        variables={"METAFLOW_PROFILE": "team"},
        files={
            PROFILE.format("team"): {"METAFLOW_CONDA_S3ROOT": "s3://t/x", **S3},
            USER: {"METAFLOW_CONDA_PACK": "no"},
        },
        store="s3://t/x",
    ),
    Configuration(
        name="another home",
        variables={"METAFLOW_HOME": "../elsewhere"},
        files={"elsewhere/config.json": {"METAFLOW_CONDA_S3ROOT": "s3://t/x", **S3}, USER: {"CONDA_PACK": "no"}},
        store="s3://t/x",
    ),
    Configuration(
        name="a home below the user's, and a profile in it",
        variables={"METAFLOW_HOME": "~/mf", "METAFLOW_PROFILE": "p"},
        files={"home/mf/config_p.json": {"METAFLOW_CONDA_LOCALROOT": "/p"}},
        store="/p",
    ),
    Configuration(
        name="the project's file beats the user's",
        files={
            PROJECT: {"METAFLOW_CONDA_S3ROOT": "s3://project/x"},
            USER: {"METAFLOW_CONDA_S3ROOT": "s3://user/x", **S3},
        },
        store="s3://project/x",
    ),
    Configuration(
        name="a project above",
        files={".metaflow/config.json": {"METAFLOW_CONDA_ENVS_DIRNAME": "above"}},
        values={"envs_dirname": "above"},
    ),
    Configuration(
        name="only the nearest project counts",
        files={
            ".metaflow/config.json": {"METAFLOW_CONDA_ENVS_DIRNAME": "above"},
            PROJECT: {"METAFLOW_CONDA_PACKAGES_DIRNAME": "here"},
        },
        values={"envs_dirname": "envs", "packages_dirname": "here"},
    ),
    _refused("an unknown profile", "profile", {"METAFLOW_PROFILE": "nobody"}),
    _refused("a damaged user's file", "", user="{"),
    _refused("a damaged project's file", "", project="{"),
    _refused("a damaged file of ours", "config.toml cannot be read", own="store = \n"),
    _refused("an unknown setting of ours", "unknown setting 'stoer'", own='stoer = "x"\n'),
    # what is unset
    Configuration(
        name="null is unset, and none for the resolvers of PyPI and mixed environments",
        files={
            USER: {
                "METAFLOW_CONDA_DEPENDENCY_RESOLVER": None,
                "METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER": None,
                "METAFLOW_CONDA_MIXED_DEPENDENCY_RESOLVER": None,
                "METAFLOW_CONDA_LOCK_TIMEOUT": None,
                "METAFLOW_CONDA_ALL_ARCHS": None,
                "METAFLOW_CONDA_PACKAGES_DIRNAME": None,
            }
        },
        values={
            "conda_dependency_resolver": None,
            "pypi_dependency_resolver": "none",
            "mixed_dependency_resolver": "none",
            "lock_timeout": 3600,
            "all_archs": ["linux-64", "osx-64", "osx-arm64"],
            "packages_dirname": "packages",
        },
    ),
    Configuration(
        name="null without the prefix",
        files={USER: {"CONDA_PYPI_DEPENDENCY_RESOLVER": None}},
        values={"pypi_dependency_resolver": "none"},
        bare=("CONDA_PYPI_DEPENDENCY_RESOLVER",),
    ),
    Configuration(
        name="null in the project hides the user's root",
        files={PROJECT: {"METAFLOW_CONDA_LOCALROOT": None}, USER: {"METAFLOW_CONDA_LOCALROOT": "/user"}},
    ),
    Configuration(
        name="an empty variable hides what the files say",
        variables={"METAFLOW_CONDA_LOCALROOT": "", "METAFLOW_CONDA_ENVS_DIRNAME": ""},
        files={USER: {"METAFLOW_CONDA_LOCALROOT": "/user", "METAFLOW_CONDA_ENVS_DIRNAME": "x"}},
        values={"envs_dirname": "envs"},
    ),
    Configuration(
        name="an empty variable of ours is not there",
        variables={"ASYNCCACHE_STORE": "", "ASYNCCACHE_PACK": "", "METAFLOW_CONDA_PACK": "never"},
        values={"pack": "never"},
    ),
    # values
    Configuration(
        name="lists and maps as JSON, in a variable and in a file",
        variables={"METAFLOW_CONDA_SYS_MARKERS": '{"linux-64": {"platform_release": "5"}}'},
        files={USER: {"METAFLOW_CONDA_ALL_ARCHS": ["linux-64"], "CONDA_BUILDER_ENV_PACKAGES": '["gcc"]'}},
        values={
            "sys_markers": {"linux-64": {"platform_release": "5"}},
            "all_archs": ["linux-64"],
            "builder_env_packages": ["gcc"],
        },
        bare=("CONDA_BUILDER_ENV_PACKAGES",),
    ),
    Configuration(
        name="numbers as text and as numbers",
        variables={"METAFLOW_CONDA_LOCK_TIMEOUT": "120", "ASYNCCACHE_IN_FLIGHT": "7"},
        files={OWN: "zstd_level = 22\nread_timeout = 1.5\n"},
        values={"lock_timeout": 120, "in_flight": 7, "zstd_level": 22, "read_timeout": 1.5},
    ),
    Configuration(
        name="a private S3 server",
        files={USER: {"METAFLOW_S3_ENDPOINT_URL": "http://h:9000", "METAFLOW_CONDA_S3ROOT": "s3://b/x", **S3}},
        store="s3://b/x",
        values={"s3_endpoint_url": "http://h:9000"},
    ),
    Configuration(
        name="the server of AWS's own variables",
        variables={"AWS_ENDPOINT_URL": "http://h:1", "METAFLOW_CONDA_S3ROOT": "s3://b/x", **S3},
        store="s3://b/x",
        values={"s3_endpoint_url": "http://h:1"},
    ),
    Configuration(
        name="how S3 is asked, and as whom",
        variables={"METAFLOW_S3_CLIENT_RETRY_CONFIG": '{"max_attempts": 3, "mode": "standard"}'},
        files={USER: {"METAFLOW_DEFAULT_AWS_CLIENT_PROVIDER": "team"}},
        values={"s3_client_retry_config": {"max_attempts": 3, "mode": "standard"}, "s3_client_provider": "team"},
    ),
    Configuration(
        name="who asks Azure and Google",
        variables={"METAFLOW_DEFAULT_GCP_CLIENT_PROVIDER": "ours"},
        files={USER: {"METAFLOW_DEFAULT_AZURE_CLIENT_PROVIDER": "team"}},
        values={"azure_client_provider": "team", "google_client_provider": "ours"},
    ),
    Configuration(
        name="who works here",
        variables={"METAFLOW_USER": "ben"},
        files={USER: {"METAFLOW_USER": "carl"}},
        values={"username": "ben"},
    ),
    Configuration(
        name="who works here, by the file", files={USER: {"METAFLOW_USER": "carl"}}, values={"username": "carl"}
    ),
    Configuration(
        name="whose resolutions are taken",
        variables={"METAFLOW_CONDA_USE_REMOTE_LATEST": ":username:,ben"},
        values={"use_remote_latest": ":username:,ben"},
    ),
    # refusals
    _refused(
        "retries that botocore does not know",
        "must be a JSON object of `max_attempts`",
        {"METAFLOW_S3_CLIENT_RETRY_CONFIG": '{"tries": 3}'},
    ),
    _refused(
        "a resolver that there is not",
        "METAFLOW_CONDA_DEPENDENCY_RESOLVER must be set to one of ['mamba', 'conda', 'micromamba', 'rattler'].",
        {"METAFLOW_CONDA_DEPENDENCY_RESOLVER": "apt"},
    ),
    _refused(
        "a format that there is not, in a file",
        "CONDA_PREFERRED_FORMAT must be set to one of ['.conda', '.tar.bz2', 'none'].",
        user={"CONDA_PREFERRED_FORMAT": ".zip"},
    ),
    _refused("an empty choice", "METAFLOW_CONDA_PACK must be set to one of", {"METAFLOW_CONDA_PACK": ""}),
    _refused("a list with commas", "must be a JSON list of texts", {"METAFLOW_CONDA_ALL_ARCHS": "linux-64,osx-64"}),
    _refused("a list for a map", "must be a JSON object", user={"METAFLOW_CONDA_SYS_MARKERS": [1]}),
    _refused("text for a number", "must be a number of at least 0", {"METAFLOW_CONDA_LOCK_TIMEOUT": "soon"}),
    _refused("a number below its range", "must be a number of at least 0", {"METAFLOW_CONDA_LOCK_TIMEOUT": "-1"}),
    _refused("a number for a text", "must be a text", user={"METAFLOW_CONDA_LOCAL_DIST": 5}),
    _refused("a level above its range", "zstd_level must be a whole number from 1 to 22", own="zstd_level = 99\n"),
    _refused("a level that is no number", "must be a whole number from 1 to 22", {"ASYNCCACHE_ZSTD_LEVEL": "nan"}),
    _refused("a time that never ends", "must be a number of at least 0", {"ASYNCCACHE_READ_TIMEOUT": "inf"}),
    _refused("a word between colons", "must be set to one of", {"METAFLOW_CONDA_USE_REMOTE_LATEST": ":all:"}),
    _refused("a datastore that there is not", "must be set to one of", {"METAFLOW_DEFAULT_DATASTORE": "ftp"}),
    _refused(
        "a directory for S3",
        "METAFLOW_CONDA_S3ROOT: /data cannot be the root of the datastore s3",
        {"METAFLOW_CONDA_S3ROOT": "/data", **S3},
    ),
    _refused(
        "a bucket for the datastore local",
        "s3://b/x cannot be the root of the datastore local",
        {"METAFLOW_CONDA_LOCALROOT": "s3://b/x"},
    ),
    _refused("a store of an unknown kind", "found the scheme ftp://", {"ASYNCCACHE_STORE": "ftp://h/x"}),
)
