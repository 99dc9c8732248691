"""Every span, metric and log event of the chassis by name, and how logs, traces and metrics leave the process.

Logs are JSON lines on stdout with timestamp, level, event, service, trace_id and span_id. Traces follow W3C Trace Context over HTTP
and through Kafka headers. Metrics are Prometheus text on /metrics.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import REGISTRY as DEFAULT_REGISTRY
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from .settings import Settings, SettingsError

# --- spans ------------------------------------------------------------------------------------------------------------------
SPAN_HTTP: Final = "http.server"  # one call, from its first byte to its recorded answer; `http.route` tells which
SPAN_SUBMIT: Final = "command.submit"  # one command's way into an inbox
SPAN_READ: Final = "<topic> process"  # one record in a policy, its retries included; FastStream's middleware makes it

# --- log events ---------------------------------------------------------------------------------------------------------------
SERVICE_STARTED: Final = "service.started"
SERVICE_STOPPING: Final = "service.stopping"
SERVICE_STOPPED: Final = "service.stopped"
SERVICE_STOP_OVERDUE: Final = "service.stop_overdue"  # the deadline of a clean stop passed; the process ends now
SETTING_UNKNOWN: Final = "settings.unknown_variable"
CALL_FAILED: Final = "http.unexpected_error"  # a bug: the answer was internal-error
READ_MODEL_AWAY: Final = "http.read_model_away"  # the database did not answer; the caller was told so, and what became of a command
CALL_UNRECORDED: Final = "http.evidence_unavailable"  # an answer was withheld
CALL_CLOSE_UNRECORDED: Final = "http.stream_close_unrecorded"
FLOOD_STARTED: Final = "http.unauthenticated_flood"
READER_STARTED: Final = "reader.started"
READER_RETRY: Final = "reader.retry"
READER_PARKED: Final = "reader.parked"
READER_COMMIT_FAILED: Final = "reader.commit_failed"  # the records since the last commit come again
CLIENT_ABANDONED: Final = "client.abandoned"  # a Kafka client that could not be closed; nothing waits for it
READER_FAILED: Final = "reader.failed"  # a permanent error and nowhere to park: the reader stands, the service must be looked at
READER_REWOUND: Final = "reader.rewound"  # the frame around the handler failed; the record is read again

# --- metrics ------------------------------------------------------------------------------------------------------------------
# the process-wide one: libraries that are blind to this one (eventlog, readmodel) put theirs there too
REGISTRY: Final[CollectorRegistry] = DEFAULT_REGISTRY

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
HTTP_CALLS: Final = Counter("barecount_http_calls", "Calls answered", ["method", "route", "status"], registry=REGISTRY)
HTTP_SECONDS: Final = Histogram(
    "barecount_http_call_seconds", "From first byte to recorded answer", ["method", "route"], buckets=_FAST, registry=REGISTRY
)
EVIDENCE_SECONDS: Final = Histogram(
    "barecount_call_record_seconds", "Waiting for an api.calls record's acknowledgement", buckets=_FAST, registry=REGISTRY
)
EVIDENCE_MISSING: Final = Counter(
    "barecount_calls_withheld", "Answers withheld because their record was not acknowledged", registry=REGISTRY
)
FLOODED: Final = Counter("barecount_unauthenticated_flood_calls", "Unauthenticated calls that were counted together", registry=REGISTRY)
COMMANDS: Final = Counter("barecount_commands_appended", "Commands acknowledged in an inbox", ["type"], registry=REGISTRY)
READ: Final = Counter("barecount_reader_records", "Records handled", ["reader", "topic"], registry=REGISTRY)
RETRIES: Final = Counter("barecount_reader_retries", "Attempts that failed and are made again", ["reader"], registry=REGISTRY)
PARKED: Final = Counter("barecount_reader_parked", "Records put aside after a permanent error", ["reader"], registry=REGISTRY)

LagOf = Callable[[], Mapping[Any, int]]


class _Lag(Collector):
    """barecount_lag_records{component, partition}: asked at scrape time from whoever knows it."""

    def __init__(self) -> None:
        self.sources: dict[str, LagOf] = {}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily("barecount_lag_records", "Records not yet handled", labels=["component", "partition"])
        for component, lag in list(self.sources.items()):
            for partition, records in lag().items():
                name = "/".join(str(part) for part in partition) if isinstance(partition, tuple) else str(partition)
                family.add_metric([component, name], records)
        yield family


_LAG: Final = _Lag()
REGISTRY.register(_LAG)


def watch_lag(component: str, lag: LagOf) -> None:
    """Shows a component's lag per partition on /metrics from now on."""
    _LAG.sources[component] = lag


def unwatch_lag(component: str) -> None:
    _LAG.sources.pop(component, None)


# --- tracing ------------------------------------------------------------------------------------------------------------------
_W3C: Final = TraceContextTextMapPropagator()


def tracer() -> trace.Tracer:
    return _tracer_of(trace.get_tracer_provider())


@lru_cache(maxsize=4)
def _tracer_of(provider: trace.TracerProvider) -> trace.Tracer:
    """Remembered: the SDK makes a new one each time that it is asked."""
    return provider.get_tracer("barecount")


def trace_id() -> str | None:
    """The current trace's id as 32 hex digits, or None outside of any."""
    found = trace.get_current_span().get_span_context()
    return format(found.trace_id, "032x") if found.is_valid else None


def inject() -> dict[str, bytes]:
    """Kafka headers that carry the current trace on (`traceparent`, and `tracestate` when there is one)."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return {name: value.encode() for name, value in carrier.items()}


def extract(headers: Mapping[str, bytes | None]) -> otel_context.Context:
    """The trace that a record's headers carry. Anything that is not a trace header, or not text, is passed over."""
    carrier: dict[str, str] = {}
    for name in ("traceparent", "tracestate"):
        value = headers.get(name)
        if value is not None:
            carrier[name] = value.decode("latin-1")
    return _W3C.extract(carrier)


# --- setting up -----------------------------------------------------------------------------------------------------------------


def logger() -> structlog.stdlib.BoundLogger:
    found: structlog.stdlib.BoundLogger = structlog.get_logger()
    return found


def setup(settings: Settings) -> None:
    """Once a process, before anything logs. Raises: SettingsError when traces shall be sent and the exporter is not installed."""
    _setup_logs(settings.service, settings.instance, settings.log_level)
    # nobody would keep what a span records without an exporter; its ids are made all the same, for every log line and record
    sampler = None if settings.otlp_endpoint else sampling.ALWAYS_OFF
    resource = Resource.create({"service.name": settings.service, "service.instance.id": settings.instance})
    provider = TracerProvider(resource=resource, sampler=sampler)
    if settings.otlp_endpoint:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise SettingsError("BARECOUNT_OTLP_ENDPOINT is set: install barecount-chassis[otlp], or leave it out") from error
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.otlp_endpoint)))
    trace.set_tracer_provider(provider)


def _setup_logs(service: str, instance: str, level: str) -> None:
    def add_service(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"], event["instance"] = service, instance
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _add_trace,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            # what libraries log takes the same form; `logger` tells whose line it is
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer(default=str)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("aiokafka", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))
    # a filter on a logger sees only what is logged to itself, so it stands on the handler that all lines pass
    handler.addFilter(Damped("aiokafka"))


class Damped(logging.Filter):
    """Lets one line in `seconds` of each kind through, from the loggers below `root`; the next one tells how many were left out.

    A kind is logger and message template. An outage of the broker makes aiokafka's clients repeat themselves some 70 times a second.
    """

    def __init__(self, root: str, seconds: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(root)
        self._seconds, self._clock = seconds, clock
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not super().filter(record):
            return True
        kind, now = (record.name, str(record.msg)), self._clock()
        at, left_out = self._last.get(kind, (-self._seconds, 0))
        if now - at < self._seconds:
            self._last[kind] = (at, left_out + 1)
            return False
        self._last[kind] = (now, 0)
        if left_out:
            record.left_out = left_out
        return True


def _add_trace(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    found = trace.get_current_span().get_span_context()
    if found.is_valid:
        event["trace_id"], event["span_id"] = format(found.trace_id, "032x"), format(found.span_id, "016x")
    return event
