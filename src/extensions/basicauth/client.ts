/** User and password for exporters, from the configuration or from files. */
import type { ClientAuthenticator } from '../../component/auth.ts'
import type { Component, Settings } from '../../component/define.ts'
import { CredentialValue } from '../credential-value.ts'
import type { BasicAuthConfig, ClientAuth } from './config.ts'
import type { telemetry } from './telemetry.ts'

export class BasicAuthClient implements Component, ClientAuthenticator {
  readonly needsTls = true
  readonly #username: CredentialValue
  readonly #password: CredentialValue

  constructor({ host, logger }: Settings<BasicAuthConfig, typeof telemetry>, config: ClientAuth) {
    const noColon = (text: string) => {
      if (text.includes(':')) throw new RangeError('a user name cannot hold a colon')
    }
    const { clock } = host
    this.#username = new CredentialValue(config.username, config.username_file, clock, logger, noColon)
    this.#password = new CredentialValue(config.password?.reveal() ?? '', config.password_file, clock, logger)
  }

  async start(): Promise<void> {
    await this.#username.start()
    await this.#password.start()
  }

  async shutdown(): Promise<void> {
    this.#username.stop()
    this.#password.stop()
  }

  #header(): string {
    const credentials = `${this.#username.value}:${this.#password.value}`
    return `Basic ${Buffer.from(credentials).toString('base64')}`
  }

  async authorize(headers: Record<string, string>): Promise<void> {
    headers['authorization'] = this.#header()
  }

  /** The files may just have changed. */
  rejected(headers: Readonly<Record<string, string>>): boolean {
    return headers['authorization'] !== this.#header()
  }
}
