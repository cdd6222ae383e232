/** The tables of HPACK: static (RFC 7541 appendix A) and dynamic (sections 2.3 and 4). Indexes count from 1 through both. */

/** Why a field makes its message malformed (RFC 9113 section 8.2.1), or 0. */
export const FIELD = { FINE: 0, BAD_NAME: 1, BAD_VALUE: 2 } as const

export interface Field {
  readonly name: string
  readonly value: string
  readonly defect: number
}

const STATIC: readonly (readonly [string, string?])[] = [
  [':authority'],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset'],
  ['accept-encoding', 'gzip, deflate'],
  ['accept-language'],
  ['accept-ranges'],
  ['accept'],
  ['access-control-allow-origin'],
  ['age'],
  ['allow'],
  ['authorization'],
  ['cache-control'],
  ['content-disposition'],
  ['content-encoding'],
  ['content-language'],
  ['content-length'],
  ['content-location'],
  ['content-range'],
  ['content-type'],
  ['cookie'],
  ['date'],
  ['etag'],
  ['expect'],
  ['expires'],
  ['from'],
  ['host'],
  ['if-match'],
  ['if-modified-since'],
  ['if-none-match'],
  ['if-range'],
  ['if-unmodified-since'],
  ['last-modified'],
  ['link'],
  ['location'],
  ['max-forwards'],
  ['proxy-authenticate'],
  ['proxy-authorization'],
  ['range'],
  ['referer'],
  ['refresh'],
  ['retry-after'],
  ['server'],
  ['set-cookie'],
  ['strict-transport-security'],
  ['transfer-encoding'],
  ['user-agent'],
  ['vary'],
  ['via'],
  ['www-authenticate'],
]

export const STATIC_FIELDS: readonly Field[] = STATIC.map(([name, value]) => ({
  name,
  value: value ?? '',
  defect: FIELD.FINE,
}))
export const STATIC_COUNT = STATIC_FIELDS.length

/** Index of each name, and of each name and value that stand together. */
export const STATIC_NAMES = new Map<string, number>()
export const STATIC_PAIRS = new Map<string, number>()
for (const [index, { name, value }] of STATIC_FIELDS.entries()) {
  if (!STATIC_NAMES.has(name)) STATIC_NAMES.set(name, index + 1)
  if (value !== '') STATIC_PAIRS.set(`${name}\n${value}`, index + 1)
}

/** What an entry counts for, beyond its strings (RFC 7541 section 4.1). */
export const ENTRY_BYTES = 32

/** A ring: the newest entry has index 0 here. */
export class DynamicTable {
  #ring: (Field | undefined)[] = new Array(16)
  #mask = 15
  #newest = 0
  #count = 0
  #bytes = 0
  #limitBytes: number
  /** Changes when an index may have come to mean something else. */
  version = 0

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#bytes
  }

  get limitBytes(): number {
    return this.#limitBytes
  }

  resize(limitBytes: number): void {
    this.#limitBytes = limitBytes
    this.version++
    while (this.#bytes > limitBytes) this.#evict()
  }

  get(index: number): Field | undefined {
    return index < this.#count ? this.#ring[(this.#newest - index) & this.#mask] : undefined
  }

  /** An entry over the limit empties the table and is not added (RFC 7541 section 4.4). */
  add(field: Field): void {
    const size = field.name.length + field.value.length + ENTRY_BYTES
    this.version++
    while (this.#count > 0 && this.#bytes + size > this.#limitBytes) this.#evict()
    if (size > this.#limitBytes) return
    if (this.#count > this.#mask) this.#grow()
    this.#newest = (this.#newest + 1) & this.#mask
    this.#ring[this.#newest] = field
    this.#count++
    this.#bytes += size
  }

  #evict(): void {
    const place = (this.#newest - --this.#count) & this.#mask
    const { name, value } = this.#ring[place]!
    this.#bytes -= name.length + value.length + ENTRY_BYTES
    this.#ring[place] = undefined
  }

  #grow(): void {
    const ring: (Field | undefined)[] = new Array((this.#mask + 1) * 2)
    for (let index = 0; index < this.#count; index++) ring[this.#count - 1 - index] = this.get(index)
    this.#ring = ring
    this.#mask = ring.length - 1
    this.#newest = this.#count - 1
  }
}
