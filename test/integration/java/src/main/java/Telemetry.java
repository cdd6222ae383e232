import static java.util.concurrent.TimeUnit.HOURS;
import static java.util.concurrent.TimeUnit.SECONDS;

import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.common.AttributesBuilder;
import io.opentelemetry.api.common.KeyValue;
import io.opentelemetry.api.common.Value;
import io.opentelemetry.api.logs.Logger;
import io.opentelemetry.api.logs.Severity;
import io.opentelemetry.api.metrics.Meter;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.TraceFlags;
import io.opentelemetry.api.trace.TraceState;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Context;
import io.opentelemetry.sdk.logs.LogLimits;
import io.opentelemetry.sdk.logs.SdkLoggerProvider;
import io.opentelemetry.sdk.logs.export.BatchLogRecordProcessor;
import io.opentelemetry.sdk.logs.export.LogRecordExporter;
import io.opentelemetry.sdk.metrics.Aggregation;
import io.opentelemetry.sdk.metrics.InstrumentSelector;
import io.opentelemetry.sdk.metrics.SdkMeterProvider;
import io.opentelemetry.sdk.metrics.View;
import io.opentelemetry.sdk.metrics.export.MetricExporter;
import io.opentelemetry.sdk.metrics.export.PeriodicMetricReader;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.SpanLimits;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.time.Instant;
import java.util.List;
import java.util.Set;
import java.util.function.IntConsumer;

/** Every kind of span, metric and log record that the SDK makes: `rounds` times, by two scopes. */
final class Telemetry {
  private static final Attributes ALL_KINDS =
      Attributes.builder()
          .put("text", "stra\u00dfe \uD83D\uDE00")
          .put("empty", "")
          .put("yes", true)
          .put("no", false)
          .put("zero", 0)
          .put("largest", Long.MAX_VALUE)
          .put("smallest", Long.MIN_VALUE)
          .put("double", 0.1)
          .put("tiny", Double.MIN_VALUE)
          .put("infinite", Double.POSITIVE_INFINITY)
          .put("texts", "a", "", "c")
          .put("ints", 1L, 2L, 3L)
          .put("doubles", 0.5, -1e300)
          .put("flags", true, false)
          .build();

  private final int rounds;
  private final Resource resource =
      Resource.create(
          Attributes.builder()
              .put("service.name", "shop")
              .put("environment", "staging")
              .put("secret.note", "x")
              .put("ports", 1L, 2L)
              .build(),
          "https://example.test/resource");

  Telemetry(int rounds) {
    this.rounds = rounds;
  }

  private static SpanContext remote(int round) {
    return SpanContext.createFromRemoteParent(
        String.format("aaaa%028x", round),
        "b7ad6b7169203331",
        TraceFlags.getSampled(),
        TraceState.builder().put("other", "t61rcWkgMzE").put("vendor", "one").build());
  }

  void sendTraces(SpanExporter exporter) {
    SdkTracerProvider provider =
        SdkTracerProvider.builder()
            .setResource(resource)
            .setSpanLimits(
                SpanLimits.builder()
                    .setMaxNumberOfAttributes(20)
                    .setMaxNumberOfEvents(4)
                    .setMaxNumberOfLinks(3)
                    .build())
            .addSpanProcessor(
                BatchSpanProcessor.builder(exporter).setMaxQueueSize(100_000).setMaxExportBatchSize(50).build())
            .build();
    List<Tracer> tracers =
        List.of(
            provider.get("plain"),
            provider
                .tracerBuilder("versioned")
                .setInstrumentationVersion("1.2.3")
                .setSchemaUrl("https://example.test/schema/1")
                .build());
    for (int round = 0; round < rounds; round++) {
      for (Tracer tracer : tracers) {
        makeTrace(tracer, round);
      }
    }
    provider.forceFlush().join(60, SECONDS);
    provider.shutdown().join(60, SECONDS);
  }

  private static void makeTrace(Tracer tracer, int round) {
    SpanContext remote = remote(round);
    Context incoming = Context.root().with(Span.wrap(remote));
    Span root =
        tracer.spanBuilder("root").setNoParent().setSpanKind(SpanKind.SERVER).setAllAttributes(ALL_KINDS).startSpan();
    Span continued =
        tracer.spanBuilder("continued").setParent(incoming).setSpanKind(SpanKind.CONSUMER).startSpan();
    Context inside = Context.root().with(root);
    Span child =
        tracer
            .spanBuilder("child")
            .setParent(inside)
            .setSpanKind(SpanKind.CLIENT)
            .setStartTimestamp(Instant.ofEpochSecond(1_700_000_000, 123_456_789))
            .addLink(remote, Attributes.builder().put("reason", "retry").put("attempt", round).build())
            .addLink(root.getSpanContext())
            .startSpan();
    child.addEvent("plain");
    child.addEvent("with attributes", ALL_KINDS, Instant.ofEpochSecond(1_700_000_001, 1));
    child.recordException(new IllegalStateException("broken \u00e9"));
    child.setStatus(StatusCode.ERROR, "it broke");
    child.end(Instant.ofEpochSecond(1_700_000_002, 999_999_999));
    var crowdedBuilder = tracer.spanBuilder("crowded").setParent(inside).setSpanKind(SpanKind.PRODUCER);
    for (int index = 0; index < 6; index++) {
      crowdedBuilder.addLink(remote);
    }
    Span crowded = crowdedBuilder.startSpan();
    for (int index = 0; index < 30; index++) {
      crowded.setAttribute("key-" + index, index);
    }
    for (int index = 0; index < 8; index++) {
      crowded.addEvent("event-" + index);
    }
    crowded.setStatus(StatusCode.OK);
    crowded.end();
    continued.end();
    root.end();
  }

  void sendMetrics(MetricExporter exporter) {
    SdkMeterProvider provider =
        SdkMeterProvider.builder()
            .setResource(resource)
            .registerMetricReader(PeriodicMetricReader.builder(exporter).setInterval(1, HOURS).build())
            .registerView(
                InstrumentSelector.builder().setName("exponential").build(),
                View.builder().setAggregation(Aggregation.base2ExponentialBucketHistogram()).build())
            .registerView(
                InstrumentSelector.builder().setName("bounds").build(),
                View.builder()
                    .setAggregation(Aggregation.explicitBucketHistogram(List.of(0.0, 0.5, 10.0)))
                    .setAttributeFilter(Set.of("route"))
                    .build())
            .build();
    List<IntConsumer> recorders =
        List.of(
            instruments(provider.get("meter")),
            instruments(
                provider
                    .meterBuilder("other")
                    .setInstrumentationVersion("2")
                    .setSchemaUrl("https://example.test/2")
                    .build()));
    for (int round = 0; round < rounds; round++) {
      for (IntConsumer record : recorders) {
        record.accept(round);
      }
      provider.forceFlush().join(60, SECONDS);
    }
    provider.shutdown().join(60, SECONDS);
  }

  private static IntConsumer instruments(Meter meter) {
    Context sampled = Context.root().with(Span.wrap(remote(1)));
    var counter = meter.counterBuilder("requests").setUnit("{request}").setDescription("how many").build();
    var cost = meter.counterBuilder("cost").ofDoubles().setUnit("EUR").build();
    var active = meter.upDownCounterBuilder("active").build();
    var gauge = meter.gaugeBuilder("temperature").setUnit("Cel").build();
    var level = meter.gaugeBuilder("level").ofLongs().build();
    var duration = meter.histogramBuilder("duration").setUnit("s").setDescription("how long").build();
    var bounds = meter.histogramBuilder("bounds").build();
    var exponential = meter.histogramBuilder("exponential").setUnit("By").build();
    long[] observed = {0};
    meter
        .counterBuilder("cpu.time")
        .ofDoubles()
        .buildWithCallback(
            result -> {
              result.record(++observed[0] * 1.5, Attributes.builder().put("cpu", 0).build());
              result.record(observed[0], Attributes.builder().put("cpu", 1).put("mode", "user").build());
            });
    meter.gaugeBuilder("load").buildWithCallback(result -> result.record(0.25, ALL_KINDS));
    return round -> {
      counter.add(1);
      counter.add(round + 2, ALL_KINDS, sampled);
      cost.add(0.1, Attributes.builder().put("route", "/a").build(), sampled);
      active.add(round % 2 == 0 ? 5 : -9, Attributes.builder().put("pool", "x").build());
      gauge.set(-273.15, Attributes.builder().put("room", "north").build());
      level.set(Long.MAX_VALUE);
      for (int index = 0; index < 20; index++) {
        Attributes route = Attributes.builder().put("route", "/" + index % 3).build();
        duration.record(index * 0.7, route, sampled);
        bounds.record(index == 0 ? 0 : 1.0 / index, route.toBuilder().put("left.out", index).build(), sampled);
        exponential.record(index == 0 ? 0 : Math.pow(2, index), route, sampled);
      }
    };
  }

  private static final List<Value<?>> BODIES =
      List.of(
          Value.of("a line"),
          Value.of(""),
          Value.of(42),
          Value.of(-0.5),
          Value.of(true),
          Value.of(Value.of("a"), Value.of(1), Value.of(Value.of(2.5))),
          Value.of(
              KeyValue.of("user", Value.of(KeyValue.of("name", Value.of("ann")), KeyValue.of("age", Value.of(7))))),
          Value.of(new byte[] {0, 1, -2, -1}));

  void sendLogs(LogRecordExporter exporter) {
    SdkLoggerProvider provider =
        SdkLoggerProvider.builder()
            .setResource(resource)
            .setLogLimits(() -> LogLimits.builder().setMaxNumberOfAttributes(20).build())
            .addLogRecordProcessor(
                BatchLogRecordProcessor.builder(exporter).setMaxQueueSize(100_000).setMaxExportBatchSize(40).build())
            .build();
    List<Logger> loggers =
        List.of(
            provider.get("logger"),
            provider
                .loggerBuilder("other")
                .setInstrumentationVersion("0.1")
                .setSchemaUrl("https://example.test/3")
                .build());
    for (int round = 0; round < rounds; round++) {
      for (Logger logger : loggers) {
        makeLogs(logger, round);
      }
    }
    provider.forceFlush().join(60, SECONDS);
    provider.shutdown().join(60, SECONDS);
  }

  private static void makeLogs(Logger logger, int round) {
    Context traced = Context.root().with(Span.wrap(remote(round)));
    for (int index = 0; index < BODIES.size(); index++) {
      Severity severity = Severity.values()[(round * BODIES.size() + index) % 25];
      var record =
          logger
              .logRecordBuilder()
              .setSeverity(severity)
              .setSeverityText("level " + severity)
              .setBody(BODIES.get(index))
              .setTimestamp(Instant.ofEpochSecond(1_700_000_000 + index, 987_654_321))
              .setAllAttributes(ALL_KINDS);
      if (index % 2 == 0) {
        record.setContext(traced).setEventName("shop.order.placed");
      } else {
        record.setContext(Context.root());
      }
      record.emit();
    }
    AttributesBuilder crowd = Attributes.builder();
    for (int index = 0; index < 40; index++) {
      crowd.put(AttributeKey.longKey("k" + index), index);
    }
    logger.logRecordBuilder().setBody("crowded").setAllAttributes(crowd.build()).emit();
  }
}
