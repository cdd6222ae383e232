/** Spans and bytes by service. */
export class SpanSizes {
  readonly spans: number[] = []
  readonly bytes: number[] = []

  add(service: number, bytes: number): void {
    while (this.spans.length <= service) {
      this.spans.push(0)
      this.bytes.push(0)
    }
    this.spans[service]!++
    this.bytes[service]! += bytes
  }
}
