"""What Ray's workers import while Ray itself still starts (`RAY_preload_python_modules`)."""

import gc
from importlib import import_module

gc.disable()
import_module("omnishot_ray.batch.pipeline")
import_module("ray.data._internal.execution.operators.actor_pool_map_operator")
gc.freeze()
gc.enable()
