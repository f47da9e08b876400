"""`/analytics.js`: the script as it is written, without indentation and comments."""

import hashlib
import re
from functools import cache
from importlib.resources import files


@cache
def read_script() -> tuple[bytes, str]:
    """The script and its strong ETag."""
    source = files("omnishot_ray.api.analytics").joinpath("script.js").read_text("utf-8")
    about, _, code = source.partition("*/\n")
    lines = (line.strip() for line in re.sub(r"/\*.*?\*/", "", code).splitlines())
    kept = "\n".join(line for line in lines if line and not line.startswith("//"))
    script = f"{about}*/\n{kept}\n".encode()
    return script, f'"{hashlib.blake2b(script, digest_size=12).hexdigest()}"'
