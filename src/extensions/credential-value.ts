/** One value from the configuration, or from a file that wins over it and is read again when it changes. */
import type { Clock } from '../component/clock.ts'
import type { Logger } from '../component/logger.ts'
import { WatchedFile } from './watched-file.ts'

export class CredentialValue {
  value: string
  readonly #file: WatchedFile | undefined

  /** `check` throws when the content of the file cannot be used. */
  constructor(
    value: string,
    path: string,
    clock: Clock,
    logger: Logger,
    check: (text: string) => void = () => {},
  ) {
    this.value = value
    if (path === '') return
    const onContent = (content: string) => {
      const text = content.trim()
      check(text)
      this.value = text
    }
    this.#file = new WatchedFile({ path, clock, logger, onContent })
  }

  async start(): Promise<void> {
    await this.#file?.start()
  }

  /** Looks now, and not at the next second. */
  async refresh(): Promise<void> {
    await this.#file?.look()
  }

  stop(): void {
    this.#file?.stop()
  }
}
