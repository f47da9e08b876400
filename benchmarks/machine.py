"""Where and from what a result came: the command, the machine, the versions, the commit."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import PIL

ROOT = Path(__file__).resolve().parents[1]


def command() -> str:
    """How this run was started, without folders of this machine."""
    module = Path(sys.argv[0]).resolve().relative_to(ROOT).with_suffix("")
    name = ".".join(module.parts).removesuffix(".__main__")
    line = shlex.join(["python", "-m", name, *sys.argv[1:]])
    return line.replace(f"{ROOT}/", "").replace(str(Path.home()), "~")


def page_head(title: str) -> str:
    """The head of a page of results, in Markdown."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    rows = "\n".join(f"- {name}: {value}" for name, value in describe().items())
    return f"# {title}\n\n`{command()}`, commit {commit(ROOT)}, {now}\n\n{rows}\n"


def describe() -> dict[str, str]:
    """Names and values, ready to print."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": f"{len(os.sched_getaffinity(0))} used of {os.cpu_count()}",
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.1f} GiB",
        "kernel": platform.release(),
        "load before": f"{os.getloadavg()[0]:.2f} (1 min)",
        "python": platform.python_version(),
        "pillow": PIL.__version__,
    }


def commit(root: Path) -> str:
    """The short hash, with "+" when tracked files differ from it; "none" outside of any commit.

    Results do not count: what one run has written does not make the next one's code another.
    """
    head = _git(root, "rev-parse", "--short", "HEAD")
    if not head:
        return "none"
    status = ("status", "--porcelain", "--untracked-files=no", "--")
    return head + ("+" if _git(root, *status, ".", ":!benchmarks/results") else "")


def _git(root: Path, *arguments: str) -> str:
    run = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
    )
    return run.stdout.strip() if run.returncode == 0 else ""


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
