"""One suite over the standard decorator and ours: whoever uses a class sees no difference."""

from __future__ import annotations

import copy
import dataclasses
import threading
from dataclasses import FrozenInstanceError, field
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from asynccache.model.dataclass import dataclass


def classes(decorate: Any) -> Any:
    """Define some classes with a decorator."""

    @decorate(frozen=True, slots=True)
    class Base:
        """A base."""

        name: str

        def upper(self) -> str:
            return self.name.upper()

    @decorate(frozen=True, slots=True)
    class Derived(Base):
        """Has more fields."""

        count: int = 3
        tags: list[str] = field(default_factory=list, compare=False)
        secret: str = field(default="s3cret", repr=False)
        LIMIT: ClassVar[int] = 7

        def __post_init__(self) -> None:
            if self.count > self.LIMIT:
                raise ValueError("too many")

    @decorate(frozen=True, slots=True, kw_only=True)
    class Named:
        given: int
        more: str = field(default="", metadata={"help": "more"})

    @decorate(frozen=True, slots=True, order=True)
    class Version:
        major: int
        minor: int = 0

    @decorate(slots=True)
    class Changing:
        value: int = 0

        def __repr__(self) -> str:
            return f"<{self.value}>"

    class Plain(Base):
        """Inherits all of it."""

    return SimpleNamespace(Base=Base, Derived=Derived, Named=Named, Version=Version, Changing=Changing, Plain=Plain)


@pytest.fixture(params=[dataclass, dataclasses.dataclass], ids=["ours", "standard"])
def made(request: pytest.FixtureRequest) -> Any:
    return classes(request.param)


def test_an_instance_has_its_fields_and_no_others(made: Any) -> None:
    one = made.Derived("a", 4)
    assert (one.name, one.count, one.tags, one.secret, one.upper()) == ("a", 4, [], "s3cret", "A")
    assert made.Derived("a").tags is not made.Derived("a").tags
    assert not hasattr(one, "__dict__")
    assert made.Plain("b").upper() == "B"
    with pytest.raises(ValueError, match="too many"):
        made.Derived("a", 8)


def test_what_is_frozen_cannot_be_changed(made: Any) -> None:
    one = made.Derived("a", 4)
    with pytest.raises(FrozenInstanceError):
        one.count = 5
    with pytest.raises(FrozenInstanceError):
        del one.name
    changing = made.Changing()
    changing.value = 2
    assert changing == made.Changing(2)


def test_instances_compare_hash_sort_and_show_themselves(made: Any) -> None:
    assert made.Derived("a", tags=["x"]) == made.Derived("a")
    assert made.Derived("a") != made.Base("a")
    assert len({made.Derived("a"), made.Derived("a"), made.Derived("b")}) == 2
    assert repr(made.Derived("a")).endswith("Derived(name='a', count=3, tags=[])")
    assert repr(made.Changing(1)) == "<1>"
    versions = [made.Version(2), made.Version(1, 5), made.Version(1)]
    assert sorted(versions) == [made.Version(1), made.Version(1, 5), made.Version(2)]
    with pytest.raises(TypeError, match="unhashable"):
        hash(made.Changing())
    with pytest.raises(TypeError, match="not supported"):
        _ = made.Base("a") < made.Base("b")


def test_wrong_arguments_are_refused(made: Any) -> None:
    for cls, given, named in ((made.Base, (), {}), (made.Base, ("a", "b"), {}), (made.Named, (1,), {})):
        with pytest.raises(TypeError, match="argument"):
            cls(*given, **named)
    with pytest.raises(TypeError, match="unexpected keyword argument 'wrong'"):
        made.Named(wrong=1)


def test_the_standard_functions_work_before_the_first_instance(made: Any) -> None:
    assert [(item.name, item.default) for item in dataclasses.fields(made.Version)][1] == ("minor", 0)
    assert dataclasses.fields(made.Named)[1].metadata == {"help": "more"}
    assert [item.name for item in dataclasses.fields(made.Derived)] == ["name", "count", "tags", "secret"]
    assert [item.name for item in dataclasses.fields(made.Plain)] == ["name"]
    assert all(dataclasses.is_dataclass(cls) for cls in (made.Base, made.Named, made.Plain))


def test_the_standard_functions_work_on_instances(made: Any) -> None:
    one = dataclasses.replace(made.Derived("a", tags=[made.Base("x")]), count=2)
    assert dataclasses.asdict(one) == {"name": "a", "count": 2, "tags": [{"name": "x"}], "secret": "s3cret"}
    assert copy.copy(one) == copy.deepcopy(one) == one
    assert copy.deepcopy(one).tags == one.tags


def test_patterns_match(made: Any) -> None:
    match made.Version(1, 2):
        case made.Version(major, minor):
            assert (major, minor) == (1, 2)


def test_all_that_the_standard_decorator_writes_is_there_after_the_first_instance() -> None:
    ours, standard = classes(dataclass), classes(dataclasses.dataclass)
    for name, arguments in {"Derived": ("a",), "Base": ("a",), "Named": (), "Version": (1,), "Changing": ()}.items():
        mine, theirs = getattr(ours, name), getattr(standard, name)
        mine(*arguments, **({"given": 1} if name == "Named" else {}))
        assert set(vars(theirs)) - set(vars(mine)) == set()
        assert (mine.__slots__, mine.__name__) == (theirs.__slots__, theirs.__name__)


def test_an_instance_can_be_copied_with_changes() -> None:
    version = classes(dataclass).Version(1)
    changed = version.__replace__(**{dataclasses.fields(version)[0].name: 2})  # as `copy.replace` of 3.13 does
    assert (type(changed), changed) == (type(version), type(version)(2))


def test_nothing_is_written_before_the_first_instance() -> None:
    ours = classes(dataclass)
    assert "__repr__" not in vars(ours.Derived)
    ours.Derived("a")
    assert "__repr__" in vars(ours.Derived)
    assert "__repr__" not in vars(ours.Named)


def test_threads_that_make_the_first_instance_at_once_all_get_one() -> None:
    for _ in range(20):
        shared, start, instances = classes(dataclass).Version, threading.Barrier(8), list[object]()

        def make(cls: Any = shared, start: threading.Barrier = start, instances: list[object] = instances) -> None:
            start.wait()
            instances.append(cls(1))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert instances == [shared(1)] * 8
