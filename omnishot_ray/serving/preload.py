"""What Ray's workers import while Ray itself still starts (`RAY_preload_python_modules`).

The service's own modules are not among them: half of the workers become processes of Serve itself,
in each of which they would be 17 MB that nobody uses.

A fifth of a core-second of each worker's imports would be the garbage collector looking at modules
that stay for good, so it rests until they are there, and never looks at them again.

A worker that is started for something else says so in its environment and loads nothing here.
"""

import gc
import os
from importlib import import_module

from omnishot_ray.frugal import hidden
from omnishot_ray.serving.pickling import spare_arrow

if "OMNIPRELOAD_NOTHING" not in os.environ:
    gc.disable()
    with hidden("pandas"):
        import_module("ray.serve._private.replica")
    spare_arrow()
    gc.freeze()
    gc.enable()
