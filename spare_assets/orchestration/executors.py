"""Where the steps of a launched run work: the executor that a profile chooses.

What a step does does not belong here, nor how the workers of a model stage are spread (see `engines`).
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from spare_assets.orchestration.instance import STATE_VARIABLE
from spare_assets.settings import DATA_VARIABLE, HOME_VARIABLE, PROFILE_VARIABLE, Home, SettingsError

_HANDED_ON = (PROFILE_VARIABLE, HOME_VARIABLE, DATA_VARIABLE, "DAGSTER_HOME", STATE_VARIABLE, "OMP_WAIT_POLICY")
"""Variables that a step on another machine needs as they are here. Keys of servers are not among them: Ray shows a
job's variables to whoever may look at the cluster."""


def executor(home: Home) -> dg.ExecutorDefinition:
    """The executor that the profile chooses. Raises SettingsError where it isn't installed."""
    execution = home.settings.execution
    match execution.executor:
        case "in_process":
            # A model is loaded once for all that a run asks of it, and a step starts in no time.
            return dg.in_process_executor
        case "multiprocess":
            limit = {} if execution.max_concurrent is None else {"max_concurrent": execution.max_concurrent}
            return dg.multiprocess_executor.configured(limit)
        case "ray":
            return _on_ray(home)


def _on_ray(home: Home) -> dg.ExecutorDefinition:
    try:
        from dagster_ray.core.executor import ray_executor
    except ImportError as error:
        raise SettingsError(
            f"execution.executor: dagster-ray cannot be imported ({error}); pip install spare-assets[ray], or choose "
            "in_process or multiprocess"
        ) from error
    execution = home.settings.execution
    settings: dict[str, Any] = {
        "env_vars": list(_HANDED_ON),
        "num_cpus": execution.cpus_per_step,
        "num_gpus": execution.gpus_per_step,
    }
    if execution.address is not None:
        settings["address"] = execution.address
    on_ray: dg.ExecutorDefinition = ray_executor
    return on_ray.configured({"ray": settings})
