"""Whether this process deploys a flow, on what, and under which name."""

from __future__ import annotations

from typing import Any

from metaflow._vendor import click

# command -> attribute of Metaflow's state that says what is deployed
_DEPLOYERS = {"argo-workflows": "workflow_name", "step-functions": "state_machine_name", "airflow": "dag_name"}
_CREATE = "create"


def deployment() -> tuple[str, str] | None:
    """Return (what it is deployed on, name) where a flow is deployed just now; None if it runs, or is looked at."""
    context: Any = click.get_current_context(silent=True)
    if context is None or context.info_name != _CREATE or context.parent is None:
        return None
    deployer = context.parent.info_name
    if deployer not in _DEPLOYERS:
        return None
    return deployer, str(getattr(context.obj, _DEPLOYERS[deployer], None) or context.obj.flow.name)
