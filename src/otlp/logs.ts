/** Views on logs; views.ts says how views behave. */
import { anyValueText, type JsValue } from './attributes.ts'
import type { Batch } from './batch.ts'
import { LOG_RECORD, RESOURCE_LOGS, SCOPE_LOGS } from './fields.ts'
import { AttributesView, MessageView, ResourceGroupView, ScopeGroupView } from './views.ts'

export function* resourceLogs(batch: Batch): Generator<ResourceLogsView> {
  for (const chunk of batch.chunks) yield* new MessageView(chunk).readMessages(1, ResourceLogsView)
}

export class ResourceLogsView extends ResourceGroupView {
  scopes(): Generator<ScopeLogsView> {
    return this.readMessages(RESOURCE_LOGS.scopeLogs, ScopeLogsView)
  }
}

export class ScopeLogsView extends ScopeGroupView {
  logRecords(): Generator<LogRecordView> {
    return this.readMessages(SCOPE_LOGS.logRecords, LogRecordView)
  }
}

export class LogRecordView extends MessageView {
  get timeUnixNano(): bigint {
    return this.readFixed64(LOG_RECORD.timeUnixNano)
  }
  get observedTimeUnixNano(): bigint {
    return this.readFixed64(LOG_RECORD.observedTimeUnixNano)
  }
  /** SEVERITY_NUMBER of fields.ts. */
  get severityNumber(): number {
    return this.readUint(LOG_RECORD.severityNumber)
  }
  get severityText(): string {
    return this.readText(LOG_RECORD.severityText)
  }
  get body(): JsValue {
    return this.readValue(LOG_RECORD.body)
  }
  /** The body as text, as the Go collector prints it. */
  get bodyText(): string {
    const body = this.readMessage(LOG_RECORD.body, MessageView)
    return anyValueText(body.bytes, body.start, body.end)
  }
  get attributes(): AttributesView {
    return new AttributesView(this, LOG_RECORD.attributes)
  }
  get droppedAttributesCount(): number {
    return this.readUint(LOG_RECORD.droppedAttributesCount)
  }
  get flags(): number {
    return this.readUint(LOG_RECORD.flags)
  }
  get traceId(): string {
    return this.readHex(LOG_RECORD.traceId)
  }
  get spanId(): string {
    return this.readHex(LOG_RECORD.spanId)
  }
  get eventName(): string {
    return this.readText(LOG_RECORD.eventName)
  }
}
