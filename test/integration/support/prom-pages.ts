/** Pages with all that the two text formats can say. */
import type { Page } from './prom-target.ts'

export const TEXT_PAGE: Page = {
  type: 'text/plain; version=0.0.4; charset=utf-8',
  body: `# HELP phase Which page this is.
# TYPE phase gauge
phase 1
# HELP http_requests_total Requests \\\\ with a backslash and a\\nline break.
# TYPE http_requests_total counter
http_requests_total{code="200",path="/a\\"b\\\\c\\nd"} 1027
http_requests_total{code="500",path=""} 3.5e3
# TYPE plain_counter counter
plain_counter 7
# HELP temperature_celsius Of the room.
# TYPE temperature_celsius gauge
temperature_celsius{room="a"} -12.5
temperature_celsius{room="b"} NaN
temperature_celsius{room="c"} +Inf
temperature_celsius{room="d"} -Inf
temperature_celsius{room="e"} 1e-9
# TYPE latency_seconds histogram
latency_seconds_bucket{route="/x",le="0.1"} 2
latency_seconds_bucket{route="/x",le="0.5"} 5
latency_seconds_bucket{route="/x",le="1"} 5
latency_seconds_bucket{route="/x",le="+Inf"} 9
latency_seconds_sum{route="/x"} 8.25
latency_seconds_count{route="/x"} 9
latency_seconds_bucket{route="/y",le="0.1"} 0
latency_seconds_bucket{route="/y",le="0.5"} 0
latency_seconds_bucket{route="/y",le="1"} 1
latency_seconds_bucket{route="/y",le="+Inf"} 1
latency_seconds_sum{route="/y"} 0.75
latency_seconds_count{route="/y"} 1
# TYPE only_infinity histogram
only_infinity_bucket{le="+Inf"} 4
only_infinity_sum 2
only_infinity_count 4
# HELP gc_seconds Pauses.
# TYPE gc_seconds summary
gc_seconds{quantile="0"} 0.001
gc_seconds{quantile="0.5"} 0.25
gc_seconds{quantile="0.99"} NaN
gc_seconds_sum 17.5
gc_seconds_count 2693
# TYPE bare_summary summary
bare_summary_sum 1
bare_summary_count 2
# TYPE some_untyped untyped
some_untyped 42
without_any_header{a="b"} 5
another_without_header_total 6
# TYPE stamped gauge
stamped{how="old"} 1 1395066363000
# TYPE reserved_labels gauge
reserved_labels{job="mine",instance="here",env="own"} 1
# TYPE target_info gauge
target_info{service_version="1.2",region="eu"} 1
# TYPE scoped gauge
scoped{otel_scope_name="lib",otel_scope_version="2",x="y"} 3
scoped{otel_scope_name="other",x="y"} 4
# TYPE goes_away gauge
goes_away{kind="first"} 1
goes_away{kind="second"} 2
`,
}

export const OPEN_METRICS_PAGE: Page = {
  type: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  body: `# TYPE phase gauge
# HELP phase Which page this is.
phase 1.0
# TYPE requests counter
# HELP requests All of them.
requests_total{code="200"} 12.0 # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736",span_id="00f067aa0ba902b7",user="ann"} 0.5 1600000000.25
requests_created{code="200"} 1600000000.125
# TYPE sent_bytes counter
# UNIT sent_bytes bytes
# HELP sent_bytes With a unit.
sent_bytes_total 5.0
# TYPE wait_seconds histogram
# UNIT wait_seconds seconds
wait_seconds_bucket{le="0.1"} 1 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.05
wait_seconds_bucket{le="1.0"} 3 # {span_id="b7ad6b7169203331",other="x"} 0.75 1600000001.5
wait_seconds_bucket{le="+Inf"} 4
wait_seconds_sum 5.5
wait_seconds_count 4
wait_seconds_created 1600000000.5
# TYPE pause summary
pause{quantile="0.5"} 0.1
pause_sum 2.0
pause_count 3
pause_created 1600000000.75
# TYPE build info
build_info{version="1.0"} 1.0
# TYPE mode stateset
mode{mode="on"} 1.0
mode{mode="off"} 0.0
# TYPE sizes gaugehistogram
sizes_bucket{le="1.0"} 1
sizes_bucket{le="+Inf"} 2
sizes_gcount 2
sizes_gsum 3.0
# TYPE mystery unknown
mystery 1.0
# TYPE stamped gauge
stamped 1.0 1600000000.123
# EOF
`,
}
