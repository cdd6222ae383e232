import static java.util.concurrent.TimeUnit.SECONDS;

import io.opentelemetry.exporter.otlp.http.logs.OtlpHttpLogRecordExporter;
import io.opentelemetry.exporter.otlp.http.metrics.OtlpHttpMetricExporter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.logs.OtlpGrpcLogRecordExporter;
import io.opentelemetry.exporter.otlp.metrics.OtlpGrpcMetricExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.logs.data.LogRecordData;
import io.opentelemetry.sdk.logs.export.LogRecordExporter;
import io.opentelemetry.sdk.metrics.InstrumentType;
import io.opentelemetry.sdk.metrics.data.AggregationTemporality;
import io.opentelemetry.sdk.metrics.data.MetricData;
import io.opentelemetry.sdk.metrics.export.AggregationTemporalitySelector;
import io.opentelemetry.sdk.metrics.export.MetricExporter;
import io.opentelemetry.sdk.trace.data.SpanData;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * The OpenTelemetry SDK for Java in use. Each exporter is doubled, so that a mirror gets the very same export calls and shows what
 * was sent. Arguments are key=value: transport, compression, endpoint, mirror, rounds, delta, certificate. The exit code is 0
 * when every exporter said that everything arrived.
 */
public final class Client {
  private static final Queue<String> FAILURES = new ConcurrentLinkedQueue<>();

  private final boolean grpc;
  private final String compression;
  private final AggregationTemporalitySelector temporality;

  private Client(Map<String, String> settings) {
    grpc = settings.get("transport").equals("grpc");
    compression = settings.get("compression");
    temporality =
        Boolean.parseBoolean(settings.get("delta"))
            ? AggregationTemporalitySelector.deltaPreferred()
            : AggregationTemporalitySelector.alwaysCumulative();
  }

  public static void main(String[] arguments) throws Exception {
    Map<String, String> settings = new TreeMap<>();
    for (String argument : arguments) {
      int equals = argument.indexOf('=');
      settings.put(argument.substring(0, equals), argument.substring(equals + 1));
    }
    byte[] certificate =
        settings.containsKey("certificate") ? Files.readAllBytes(Path.of(settings.get("certificate"))) : null;
    int rounds = Integer.parseInt(settings.get("rounds"));
    String endpoint = settings.get("endpoint");
    String mirror = settings.get("mirror");
    Client client = new Client(settings);
    Telemetry telemetry = new Telemetry(rounds);
    telemetry.sendTraces(new Spans(List.of(client.spans(mirror, null), client.spans(endpoint, certificate))));
    telemetry.sendMetrics(
        new Metrics(List.of(client.metrics(mirror, null), client.metrics(endpoint, certificate))));
    telemetry.sendLogs(new Logs(List.of(client.logs(mirror, null), client.logs(endpoint, certificate))));
    if (!FAILURES.isEmpty()) {
      System.err.println("exports failed: " + FAILURES);
      System.exit(1);
    }
    System.exit(0);
  }

  private SpanExporter spans(String endpoint, byte[] certificate) {
    if (grpc) {
      var builder = OtlpGrpcSpanExporter.builder().setEndpoint(endpoint).setCompression(compression);
      return (certificate == null ? builder : builder.setTrustedCertificates(certificate)).build();
    }
    var builder = OtlpHttpSpanExporter.builder().setEndpoint(endpoint + "/v1/traces").setCompression(compression);
    return (certificate == null ? builder : builder.setTrustedCertificates(certificate)).build();
  }

  private MetricExporter metrics(String endpoint, byte[] certificate) {
    if (grpc) {
      var builder =
          OtlpGrpcMetricExporter.builder()
              .setEndpoint(endpoint)
              .setCompression(compression)
              .setAggregationTemporalitySelector(temporality);
      return (certificate == null ? builder : builder.setTrustedCertificates(certificate)).build();
    }
    var builder =
        OtlpHttpMetricExporter.builder()
            .setEndpoint(endpoint + "/v1/metrics")
            .setCompression(compression)
            .setAggregationTemporalitySelector(temporality);
    return (certificate == null ? builder : builder.setTrustedCertificates(certificate)).build();
  }

  private LogRecordExporter logs(String endpoint, byte[] certificate) {
    if (grpc) {
      var builder = OtlpGrpcLogRecordExporter.builder().setEndpoint(endpoint).setCompression(compression);
      return (certificate == null ? builder : builder.setTrustedCertificates(certificate)).build();
    }
    var builder = OtlpHttpLogRecordExporter.builder().setEndpoint(endpoint + "/v1/logs").setCompression(compression);
    return (certificate == null ? builder : builder.setTrustedCertificates(certificate)).build();
  }

  /** Waits for the export, so that a failure is seen whatever the caller does with it. */
  private static CompletableResultCode note(String what, List<CompletableResultCode> results) {
    for (CompletableResultCode result : results) {
      result.join(30, SECONDS);
      if (!result.isSuccess()) {
        FAILURES.add(what + ": " + result.getFailureThrowable());
      }
    }
    return CompletableResultCode.ofAll(results);
  }

  private record Spans(List<SpanExporter> both) implements SpanExporter {
    @Override
    public CompletableResultCode export(Collection<SpanData> items) {
      return note("traces", both.stream().map(exporter -> exporter.export(items)).toList());
    }

    @Override
    public CompletableResultCode flush() {
      return CompletableResultCode.ofSuccess();
    }

    @Override
    public CompletableResultCode shutdown() {
      return CompletableResultCode.ofAll(both.stream().map(SpanExporter::shutdown).toList());
    }
  }

  private record Metrics(List<MetricExporter> both) implements MetricExporter {
    @Override
    public AggregationTemporality getAggregationTemporality(InstrumentType type) {
      return both.get(0).getAggregationTemporality(type);
    }

    @Override
    public CompletableResultCode export(Collection<MetricData> items) {
      return note("metrics", both.stream().map(exporter -> exporter.export(items)).toList());
    }

    @Override
    public CompletableResultCode flush() {
      return CompletableResultCode.ofSuccess();
    }

    @Override
    public CompletableResultCode shutdown() {
      return CompletableResultCode.ofAll(both.stream().map(MetricExporter::shutdown).toList());
    }
  }

  private record Logs(List<LogRecordExporter> both) implements LogRecordExporter {
    @Override
    public CompletableResultCode export(Collection<LogRecordData> items) {
      return note("logs", both.stream().map(exporter -> exporter.export(items)).toList());
    }

    @Override
    public CompletableResultCode flush() {
      return CompletableResultCode.ofSuccess();
    }

    @Override
    public CompletableResultCode shutdown() {
      return CompletableResultCode.ofAll(both.stream().map(LogRecordExporter::shutdown).toList());
    }
  }
}
