"""The OpenTelemetry SDK for Python in use: every kind of span, metric and log record that it makes, sent over one transport.

Each exporter is doubled, so that a mirror gets the very same export calls and shows what was sent. Settings come as JSON in the first
argument; the exit code is 0 when every exporter said that everything arrived.
"""

import json
import sys

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.common.http import Compression as JsonCompression
from opentelemetry.exporter.otlp.json.http import _log_exporter as json_logs
from opentelemetry.exporter.otlp.json.http import metric_exporter as json_metrics
from opentelemetry.exporter.otlp.json.http import trace_exporter as json_traces
from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

ALL_KINDS = {
    "text": "stra\u00dfe \U0001f600",
    "empty": "",
    "yes": True,
    "no": False,
    "zero": 0,
    "int": 42,
    "largest": 2**63 - 1,
    "smallest": -(2**63),
    "double": 0.1,
    "whole": 3.0,
    "tiny": 5e-324,
    "texts": ["a", "", "c"],
    "ints": [1, 2, 3],
    "doubles": [0.5, -1e300],
    "flags": [True, False],
    "nothing": [],
}

failures = []


def note(result, success):
    if result != success:
        failures.append(str(result))


class DoubledSpans(SpanExporter):
    def __init__(self, make, settings):
        self.both = [make(settings["mirror"]), make(settings["endpoint"])]

    def export(self, spans):
        for exporter in self.both:
            result = exporter.export(spans)
            note(result, SpanExportResult.SUCCESS)
        return result

    def shutdown(self):
        for exporter in self.both:
            exporter.shutdown()

    def force_flush(self, timeout_millis=30000):
        return True


class DoubledLogs(LogRecordExporter):
    def __init__(self, make, settings):
        self.both = [make(settings["mirror"]), make(settings["endpoint"])]

    def export(self, batch):
        for exporter in self.both:
            result = exporter.export(batch)
            note(result, LogRecordExportResult.SUCCESS)
        return result

    def shutdown(self):
        for exporter in self.both:
            exporter.shutdown()

    def force_flush(self, timeout_millis=30000):
        return True


class DoubledMetrics(MetricExporter):
    def __init__(self, make, settings):
        delta = AggregationTemporality.DELTA
        super().__init__(
            preferred_temporality={Counter: delta, Histogram: delta, ObservableCounter: delta} if settings["delta"] else {}
        )
        self.both = [make(settings["mirror"]), make(settings["endpoint"])]

    def export(self, metrics_data, timeout_millis=10000, **kwargs):
        for exporter in self.both:
            result = exporter.export(metrics_data, timeout_millis, **kwargs)
            note(result, MetricExportResult.SUCCESS)
        return result

    def shutdown(self, timeout_millis=30000, **kwargs):
        for exporter in self.both:
            exporter.shutdown()

    def force_flush(self, timeout_millis=10000):
        return True


def makers(settings):
    """One function per signal, from an endpoint to an exporter."""
    transport, encoding, ca = settings["transport"], settings["compression"], settings.get("certificate")
    if transport == "grpc":
        import grpc

        compression = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}[encoding]
        kinds = [grpc_traces.OTLPSpanExporter, grpc_metrics.OTLPMetricExporter, grpc_logs.OTLPLogExporter]

        def make(endpoint, kind):
            # Only the collector speaks TLS, never the mirror.
            if ca is None or endpoint != settings["endpoint"]:
                return kind(endpoint=endpoint, insecure=True, compression=compression)
            with open(ca, "rb") as file:
                credentials = grpc.ssl_channel_credentials(root_certificates=file.read())
            return kind(endpoint=endpoint, credentials=credentials, compression=compression)

        return [lambda endpoint, kind=kind: make(endpoint, kind) for kind in kinds]
    if transport == "http/protobuf":
        compression = Compression(encoding)
        kinds = [http_traces.OTLPSpanExporter, http_metrics.OTLPMetricExporter, http_logs.OTLPLogExporter]
    else:
        compression = JsonCompression(encoding)
        kinds = [json_traces.OTLPSpanExporter, json_metrics.OTLPMetricExporter, json_logs.OTLPLogExporter]
    return [
        lambda endpoint, kind=kind, path=path: kind(
            endpoint=f"{endpoint}/v1/{path}", compression=compression, **({"certificate_file": ca} if ca else {})
        )
        for kind, path in zip(kinds, ["traces", "metrics", "logs"])
    ]


def remote_context(round):
    return SpanContext(
        trace_id=0xAAAA0000000000000000000000000000 + round,
        span_id=0xB7AD6B7169203331,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState([("vendor", "one"), ("other", "t61rcWkgMzE")]),
    )


def make_trace(tracer, round):
    remote = remote_context(round)
    incoming = trace.set_span_in_context(NonRecordingSpan(remote), Context())
    root = tracer.start_span("root", context=Context(), kind=SpanKind.SERVER, attributes=ALL_KINDS)
    continued = tracer.start_span("continued", context=incoming, kind=SpanKind.CONSUMER)
    inside = trace.set_span_in_context(root, Context())
    child = tracer.start_span(
        "child",
        context=inside,
        kind=SpanKind.CLIENT,
        start_time=1_700_000_000_123_456_789,
        links=[Link(remote, {"reason": "retry", "attempt": round}), Link(root.get_span_context())],
    )
    child.add_event("plain")
    child.add_event("with attributes", ALL_KINDS, timestamp=1_700_000_001_000_000_001)
    try:
        raise ValueError("broken \u00e9")
    except ValueError as error:
        child.record_exception(error)
    child.set_status(Status(StatusCode.ERROR, "it broke"))
    child.end(end_time=1_700_000_002_999_999_999)
    crowded = tracer.start_span("crowded", context=inside, kind=SpanKind.PRODUCER)
    for index in range(30):
        crowded.set_attribute(f"key-{index}", index)
    for index in range(8):
        crowded.add_event(f"event-{index}")
    for index in range(6):
        crowded.add_link(remote)
    crowded.set_status(Status(StatusCode.OK))
    crowded.end()
    continued.end()
    root.end()


def send_traces(resource, exporter, rounds):
    provider = TracerProvider(resource=resource, span_limits=SpanLimits(max_span_attributes=20, max_events=4, max_links=3))
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=100_000, max_export_batch_size=50))
    tracers = [
        provider.get_tracer("plain"),
        provider.get_tracer("versioned", "1.2.3", schema_url="https://example.test/schema/1", attributes={"part": "db", "size": 3}),
    ]
    for round in range(rounds):
        for tracer in tracers:
            make_trace(tracer, round)
    provider.force_flush()
    provider.shutdown()


class Instruments:
    def __init__(self, meter):
        self.counter = meter.create_counter("requests", unit="{request}", description="how many")
        self.cost = meter.create_counter("cost", unit="EUR")
        self.active = meter.create_up_down_counter("active")
        self.gauge = meter.create_gauge("temperature", unit="Cel")
        self.duration = meter.create_histogram("duration", unit="s", description="how long")
        self.bounds = meter.create_histogram("bounds")
        self.exponential = meter.create_histogram("exponential", unit="By")
        self.observed = 0
        meter.create_observable_counter("cpu.time", callbacks=[self.observe])
        meter.create_observable_up_down_counter("queue", callbacks=[lambda options: [Observation(-3)]])
        meter.create_observable_gauge("load", callbacks=[lambda options: [Observation(0.25, ALL_KINDS)]])

    def observe(self, options):
        self.observed += 1
        return [Observation(self.observed * 1.5, {"cpu": 0}), Observation(self.observed, {"cpu": 1, "mode": "user"})]

    def record(self, round, context):
        self.counter.add(1)
        self.counter.add(round + 2, ALL_KINDS, context=context)
        self.cost.add(0.1, {"route": "/a"}, context=context)
        self.active.add(5 if round % 2 == 0 else -9, {"pool": "x"})
        self.gauge.set(-273.15, {"room": "north"})
        for index in range(20):
            attributes = {"route": f"/{index % 3}"}
            self.duration.record(index * 0.7, attributes, context=context)
            self.bounds.record(0 if index == 0 else 1 / index, {**attributes, "left.out": index}, context=context)
            self.exponential.record(0 if index == 0 else 2**index, attributes, context=context)


def send_metrics(resource, exporter, rounds):
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider(
        resource=resource,
        metric_readers=[reader],
        views=[
            View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation()),
            View(
                instrument_name="bounds",
                aggregation=ExplicitBucketHistogramAggregation(boundaries=[0, 0.5, 10]),
                attribute_keys={"route"},
            ),
        ],
    )
    instruments = [
        Instruments(provider.get_meter("meter")),
        Instruments(provider.get_meter("other", "2", schema_url="https://example.test/2", attributes={"part": "io"})),
    ]
    sampled = trace.set_span_in_context(NonRecordingSpan(remote_context(1)), Context())
    for round in range(rounds):
        for one in instruments:
            one.record(round, sampled)
        provider.force_flush()
    provider.shutdown()


BODIES = [
    "a line",
    "",
    42,
    -0.5,
    True,
    ["a", 1, [2.5]],
    {"user": {"name": "ann", "tags": ["x"], "age": 7}, "empty": {}},
    bytes([0, 1, 254, 255]),
    None,
]


def make_logs(logger, round):
    traced = trace.set_span_in_context(NonRecordingSpan(remote_context(round)), Context())
    for index, body in enumerate(BODIES):
        severity = SeverityNumber((round * len(BODIES) + index) % 25)
        extra = {"context": traced, "event_name": "shop.order.placed"} if index % 2 == 0 else {"context": Context()}
        logger.emit(
            LogRecord(
                timestamp=1_700_000_000_987_654_321 + index,
                severity_number=severity,
                severity_text=f"level {severity.value}",
                body=body,
                attributes={**ALL_KINDS, "nested": {"deep": [{"a": 1}, None]}, "raw": bytes([7, 8])},
                **extra,
            )
        )
    logger.emit(LogRecord(body="crowded", attributes={f"k{index}": index for index in range(40)}))
    logger.emit(LogRecord(body="thrown", exception=ArithmeticError("too far")))


def send_logs(resource, exporter, rounds):
    provider = LoggerProvider(resource=resource, log_record_limits=LogRecordLimits(max_attributes=20))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_queue_size=100_000, max_export_batch_size=40))
    loggers = [
        provider.get_logger("logger"),
        provider.get_logger("other", "0.1", schema_url="https://example.test/3", attributes={"part": "db", "size": 3}),
    ]
    for round in range(rounds):
        for logger in loggers:
            make_logs(logger, round)
    provider.force_flush()
    provider.shutdown()


def main():
    settings = json.loads(sys.argv[1])
    traces, metrics, logs = makers(settings)
    for index, attributes in enumerate(settings["resources"]):
        resource = Resource(attributes, schema_url="https://example.test/resource" if index == 0 else None)
        own = {**settings, "delta": index % 2 == 1}
        send_traces(resource, DoubledSpans(traces, own), settings["rounds"])
        send_metrics(resource, DoubledMetrics(metrics, own), settings["rounds"])
        send_logs(resource, DoubledLogs(logs, own), settings["rounds"])
    if failures:
        sys.exit(f"exports failed: {failures[:3]}")


main()
