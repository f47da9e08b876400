"""What Ray's workers import while Ray itself still starts (`RAY_preload_python_modules`).

A fifth of a core-second of each worker's imports would be the garbage collector looking at modules
that stay for good, so it rests until they are there, and never looks at them again.

A worker that is started for something else says so in its environment and loads nothing here.
"""

import gc
import os
from importlib import import_module

from omnishot_ray.serving.frugal import pandas_hidden

if "OMNIPRELOAD_NOTHING" not in os.environ:
    gc.disable()
    with pandas_hidden():
        import_module("ray.serve._private.replica")
        import_module("omnishot_ray.app")
    gc.freeze()
    gc.enable()
