"""`@huggingface` of a step: models of the hub as directories, or what the hub says of them (contract, section 7.7).

Standard library and Metaflow, Python 3.7; `huggingface_hub` is imported where a step asks for a model.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import Any, Callable, Iterator, Mapping

from metaflow.decorators import StepDecorator
from metaflow.metaflow_current import current

from asynccache.metaflow.huggingface.auth import HuggingFaceAuthProvider, find_token
from asynccache.metaflow.huggingface.models import HuggingFaceException, Model, read_models
from asynccache.metaflow.huggingface.settings import package_settings, read_settings
from asynccache.metaflow.huggingface.snapshots import Hub, make_own

__all__ = ["HuggingFaceAuthProvider", "HuggingFaceContext", "HuggingFaceDecorator"]
_DIRECTORY = "metaflow_huggingface"


class _OutsideError(RuntimeError, AttributeError):
    """Is also the second, so that `current.get` and `in current` say that it is not there."""


def _outside(_current: Any) -> Any:
    raise _OutsideError("current.huggingface is only there in a step that has @huggingface(models=...)")


class _ByKey(Mapping):  # type: ignore[type-arg] # its brackets need Python 3.9
    """What a function returns for each model, by the model's key; called once for each, when it is first asked for."""

    def __init__(self, models: dict[str, Model], fetch: Callable[[Model], Any]) -> None:
        self._models = models
        self._fetch = functools.lru_cache(maxsize=None)(fetch)

    def __getitem__(self, key: str) -> Any:
        if key not in self._models:
            raise KeyError(f"@huggingface of this step has no model '{key}'; it has {sorted(self._models)}")
        return self._fetch(self._models[key])

    def __contains__(self, key: object) -> bool:
        return key in self._models

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def __repr__(self) -> str:
        return f"<models {sorted(self._models)}>"


class HuggingFaceContext:
    """What `current.huggingface` is in a step.

    Attributes:
        models: Key -> absolute path of a directory with the model's files, shared by the tasks of a node: read only.
        model_info: Key -> `huggingface_hub.ModelInfo`.
    """

    def __init__(self, models: dict[str, Model], hub: Hub, parent: str, *, metadata_only: bool) -> None:
        def snapshot(model: Model) -> str:
            if metadata_only:
                raise HuggingFaceException(
                    f"{model} has no files here, because of @huggingface(metadata_only=True): leave that out, or use"
                    " current.huggingface.model_info"
                )
            return hub.snapshot(model, parent)

        self.models = _ByKey(models, snapshot)
        self.model_info = _ByKey(models, hub.model_info)

    def __reduce__(self) -> Any:
        raise TypeError("current.huggingface cannot be stored: store what you need of a model")


class HuggingFaceDecorator(StepDecorator):
    """
    Models of the Hugging Face hub for a step, as `current.huggingface.models` and `.model_info`.

    Parameters
    ----------
    models : list[str] or dict[str, str]
        `REPO` or `REPO@REVISION` each, found under the repository's name; or alias -> that. The revision is `main` when
        none is given.
    metadata_only : bool, default False
        Ask for information only; no files are downloaded.
    lazy : bool, default True
        Fetch a model when the step first asks for it; otherwise all of them before the step begins.
    local_dir : str, optional, default None
        Directory for the downloaded files; by default HUGGINGFACE_LOCAL_DIR, then the task's temporary directory.
    """

    name = "huggingface"
    defaults: dict[str, Any] = {"models": None, "metadata_only": False, "lazy": True, "local_dir": None}

    def step_init(self, *_unused: Any) -> None:
        """Refuse arguments that make no sense, before anything runs."""
        self._models = self._read()

    def add_to_package(self) -> Iterator[tuple[Any, ...]]:
        """Yield what nodes need: the settings."""
        yield from package_settings()

    def task_decorate(self, step_func: Any, *_unused: Any) -> Any:
        """Give the step its models; comes after decorators such as `@secrets` have set what a provider may need."""
        if importlib.util.find_spec("huggingface_hub") is None:
            raise HuggingFaceException(
                "@huggingface needs huggingface_hub, which the step's Python does not have: add"
                " @pypi(packages={'huggingface_hub': '>=0.19'}), or install asynccache[huggingface]"
            )
        models = self._read()
        settings = read_settings()
        hub = Hub(settings.endpoint, find_token(settings.provider, settings.providers), settings.timeout)
        metadata_only = self.attributes["metadata_only"]
        parent = self.attributes["local_dir"] or settings.local_dir
        if parent:
            parent = os.path.abspath(os.path.expanduser(parent))
        else:
            # Metaflow's is the working directory, where nothing else is set
            parent = os.path.abspath(os.path.join(current.tempdir or "/tmp", _DIRECTORY))  # noqa: S108 - owner is looked at
            if not metadata_only:
                make_own(parent)
        context = HuggingFaceContext(models, hub, parent, metadata_only=metadata_only)
        if not self.attributes["lazy"]:
            for key in models:
                (context.model_info if metadata_only else context.models)[key]
        current._update_env({"huggingface": context})  # noqa: SLF001 - as decorators are meant to
        return step_func

    def task_finished(self, *_unused: Any) -> None:
        """Take the models away: the step is over."""
        _withdraw()

    def _read(self) -> dict[str, Model]:
        for name in ("metadata_only", "lazy"):
            if not isinstance(self.attributes[name], bool):
                raise HuggingFaceException(
                    f"@huggingface({name}=...) takes True or False, not {self.attributes[name]!r}"
                )
        local_dir = self.attributes["local_dir"]
        if local_dir is not None and (not isinstance(local_dir, str) or not local_dir or "\0" in local_dir):
            raise HuggingFaceException(f"@huggingface(local_dir=...) takes the path of a directory, not {local_dir!r}")
        return read_models(self.attributes["models"])


def _withdraw() -> None:
    type(current).huggingface = property(_outside)


_withdraw()
