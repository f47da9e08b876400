"""What Ray's workers import while Ray itself still starts (`RAY_preload_python_modules`).

A fifth of a core-second of each worker's imports would be the garbage collector looking at modules
that stay for good, so it rests until they are there, and never looks at them again.

A worker that is started for something else says so in its environment and loads nothing here.
"""

import gc
import os
import sys
from importlib import import_module
from typing import Any

if "OMNIPRELOAD_NOTHING" not in os.environ:
    gc.disable()
    # Serve imports pandas wherever it is, and Ray Data brings it: 20 MB in each process of a
    # service that has no use for it. Whoever asks for it later gets it.
    modules: dict[str, Any] = sys.modules
    modules.setdefault("pandas", None)
    import_module("ray.serve._private.replica")
    import_module("omnishot_ray.app")
    if modules["pandas"] is None:
        del modules["pandas"]
    gc.freeze()
    gc.enable()
