"""What the extension adds to Metaflow, and what of Metaflow's own it takes the place of (the same names)."""

_OURS = "asynccache.metaflow"

CLIS_DESC = [("environment", _OURS + ".flow_commands.cli")]

RUNNER_CLIS_DESC = [("environment", _OURS + ".runner.RunnerCLI")]

ENVIRONMENTS_DESC = [
    ("conda", _OURS + ".environment.CondaEnvironment"),
    ("pypi", _OURS + ".environment.PypiEnvironment"),
]

STEP_DECORATORS_DESC = [
    ("conda", _OURS + ".decorators.CondaStepDecorator"),
    ("pypi", _OURS + ".decorators.PypiStepDecorator"),
    ("pip", _OURS + ".decorators.PipStepDecorator"),
    ("named_env", _OURS + ".decorators.NamedEnvStepDecorator"),
    ("sys_packages", _OURS + ".decorators.SysPackagesStepDecorator"),
    ("pylock_toml_internal", _OURS + ".decorators.PylockTomlStepDecorator"),
    ("huggingface", _OURS + ".huggingface.decorator.HuggingFaceDecorator"),
    ("conda_env_internal", _OURS + ".step_environment.CondaEnvInternalDecorator"),
]

FLOW_DECORATORS_DESC = [
    ("conda_base", _OURS + ".decorators.CondaFlowDecorator"),
    ("pypi_base", _OURS + ".decorators.PypiFlowDecorator"),
    ("pip_base", _OURS + ".decorators.PipFlowDecorator"),
    ("named_env_base", _OURS + ".decorators.NamedEnvFlowDecorator"),
    ("sys_packages_base", _OURS + ".decorators.SysPackagesFlowDecorator"),
]
