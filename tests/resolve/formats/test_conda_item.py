from __future__ import annotations

import pytest

from asynccache.resolve.formats.conda_item import read_conda_item
from asynccache.resolve.requests.requirement_text import join_value, read_requirement
from asynccache.resolve.requests.source_position import NOWHERE


@pytest.mark.parametrize(
    ("item", "value", "spec"),
    [
        ("t=2.3.0=py3.10_cu11.8_dnn8.7.0_0", "t==2.3.0=py3.10_cu11.8_dnn8.7.0_0", "==2.3.0|py3.10_cu11.8_dnn8.7.0_0"),
        ("jaxlib>=0.4.31=cuda12*", "jaxlib==>=0.4.31=cuda12*", ">=0.4.31|cuda12*"),
        ("jaxlib >=0.4.31, <1 cuda12*", "jaxlib==>=0.4.31,<1=cuda12*", ">=0.4.31,<1|cuda12*"),
        ("a 1.0=py_0", "a==1.0=py_0", "==1.0|py_0"),
        ("a = 1.0 py_0", "a==1.0=py_0", "==1.0|py_0"),
        ("b 1.25|2.0.*", "b==1.25|2.0.*", "==1.25|2.0.*|None"),
        ("b=1.25 | 2.0.*", "b==1.25|2.0.*", "==1.25|2.0.*|None"),
        ("b >=1,<2|>=3", "b==>=1,<2|>=3", ">=1,<2|>=3|None"),
        ("c[version='>=1']", "c==>=1", ">=1|None"),
        ('ch::c[version=">=1,<2", build=h_*]', "ch::c==>=1,<2=h_*", ">=1,<2|h_*"),
        ("c[channel=ch,build=^h.*$]", "ch::c==*=^h.*$", "|^h.*$"),
        ("d=*=*cuda*", "d==*=*cuda*", "|*cuda*"),
        ("e * mkl", "e==*=mkl", "|mkl"),
        ("f >=1.8-2", "f==>=1.8-2", ">=1.8-2|None"),
    ],
)  # fmt: skip
def test_an_item_is_what_conda_takes_it_for(item: str, value: str, spec: str) -> None:
    found = join_value(*read_conda_item(item, NOWHERE))
    read = read_requirement(found)
    assert (found, f"{read.conda_version}|{read.build}") == (value, spec)
