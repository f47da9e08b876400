"""What is logged and traced, and where it goes."""

from dataclasses import dataclass

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "json", "text")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Lines of the service's own loggers. Those of Ray keep to Ray's files."""

    level: str = "info"
    format: str = "auto"
    """`text` for people, `json` for programs; `auto` is text for `omnishot serve` on a terminal."""
    file: str = ""
    """What all processes of a node append to, a file or a named pipe; empty is standard error,
    which Ray keeps in its session's folder."""
    slow_ms: float = 1000.0
    """Requests that take longer are told with the reason; 0 tells of none."""
    sample: float = 0.0
    """The share of the other requests that is told."""
    lines_per_s: float = 20.0
    """Of requests, at most, in each gateway; what is left out is counted."""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level is one of {', '.join(LEVELS)}")
        if self.format not in FORMATS:
            raise ValueError(f"format is one of {', '.join(FORMATS)}")
        if self.file and not self.file.startswith("/"):
            raise ValueError("file has to be an absolute path: processes work in different folders")
        if self.slow_ms < 0 or not self.lines_per_s > 0:
            raise ValueError("slow_ms must be 0 or more, lines_per_s more than 0")
        if not 0 <= self.sample <= 1:
            raise ValueError("sample is a share, 0 to 1")


@dataclass(frozen=True, slots=True)
class TraceConfig:
    """OpenTelemetry spans, through Ray Serve's own tracing."""

    exporter: str = ""
    """`otlp`, or `module:function` that returns a list of span processors; empty is off."""
    sample: float = 0.01
    """The share of requests that is traced where the caller has not decided (`traceparent`)."""

    def __post_init__(self) -> None:
        module, colon, function = self.exporter.partition(":")
        if self.exporter not in ("", "otlp") and not (module and colon and function):
            raise ValueError("exporter is empty, otlp, or module:function")
        if not 0 <= self.sample <= 1:
            raise ValueError("sample is a share, 0 to 1")

    @property
    def import_path(self) -> str:
        """What Ray Serve imports in each of its processes."""
        if self.exporter == "otlp":
            return "omnishot_ray.telemetry.exporters:export_otlp"
        return self.exporter
