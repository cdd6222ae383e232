/**
 * Names that test files give to traces and spans, and the ids that stand for them: the same name is the same
 * id in every run.
 */
import { createHash } from 'node:crypto'

export class Ids {
  readonly #names = new Map<string, string>()
  #unnamed = 0

  trace(name: string | undefined): string {
    return this.#id(name ?? `trace-${++this.#unnamed}`, 32)
  }

  span(name: string | undefined): string {
    return this.#id(name ?? `span-${++this.#unnamed}`, 16)
  }

  /** The name that an id was made from, or the id. */
  nameOf(hex: string): string {
    return this.#names.get(hex) ?? hex
  }

  #id(name: string, digits: 16 | 32): string {
    const isId = name.length === digits && /^[0-9a-f]+$/.test(name)
    const hex = isId ? name : createHash('sha256').update(name).digest('hex').slice(0, digits)
    this.#names.set(hex, name)
    return hex
  }
}
