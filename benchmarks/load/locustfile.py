"""The visitors of `omnishot loadtest` for Locust's own tools: its web page, `--processes`, workers.

    locust -f benchmarks/load/locustfile.py --headless -u 8 -r 8 -t 20s --host http://127.0.0.1:8000

Every answer is checked. Goes to 127.0.0.1 unless --host says otherwise. `MIX` in the environment
names another mix, `SEED` another seed, `KEY` is an API key. With --stop-timeout what is open at the
end is waited for. Jobs are left out; `omnishot loadtest` sends them where the service has them.
"""

import os

from omnishot_ray.load.pictures import drawn_library
from omnishot_ray.load.traffic import MIXES, Traffic, without
from omnishot_ray.load.visitor import make_visitor


def _ignore(_: object) -> None:
    """Locust counts by itself."""


_MIX = without(MIXES[os.environ.get("MIX", "usual")], {"job"})
_TRAFFIC = Traffic(drawn_library(), _MIX, int(os.environ.get("SEED", "1")))


class Visitor(make_visitor(_TRAFFIC, _ignore, key=os.environ.get("KEY", ""))):
    """Asks for what visitors of pages, shops and apps ask for."""

    host = "http://127.0.0.1:8000"
