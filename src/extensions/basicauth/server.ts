/**
 * Who may in by user and password. What was found right, or wrong, is remembered by a digest under a key of this process, so
 * that a hash that costs time is computed once per user and not once per request. How much of that is done is bounded: by jobs
 * that wait, and by a rate for the whole process, over which callers are told to come back.
 */
import { LRUCache } from 'lru-cache'
import type { AuthData, ServerAuthenticator } from '../../component/auth.ts'
import type { Component, Settings } from '../../component/define.ts'
import type { RateBudget } from '../../component/host.ts'
import { RefusedError, UnauthenticatedError } from '../../errors.ts'
import { JobThread } from '../../workers/job-thread.ts'
import { digest } from '../digest.ts'
import { WatchedFile } from '../watched-file.ts'
import type { BasicAuthConfig, Htpasswd as HtpasswdConfig } from './config.ts'
import { checkFast, type Htpasswd, type Password, parseHtpasswd } from './htpasswd.ts'
import type { PasswordJob } from './password-thread.ts'
import type { telemetry } from './telemetry.ts'

/** Answers remembered of each kind, per shard. */
const REMEMBERED = 10_000
const JOBS = 64
const CHECKS_PER_SECOND = 50
const CHECKS_BURST = 200
const MAX_CREDENTIAL_CHARS = 4096

export class BasicAuthServer implements Component, ServerAuthenticator {
  readonly challenge = 'Basic realm="weir", charset="UTF-8"'
  readonly #settings: Settings<BasicAuthConfig, typeof telemetry>
  readonly #config: HtpasswdConfig
  readonly #file: WatchedFile | undefined
  readonly #rate: RateBudget
  readonly #thread: JobThread
  readonly #accepted = new LRUCache<string, AuthData>({ max: REMEMBERED })
  readonly #refused = new LRUCache<string, true>({ max: REMEMBERED })
  readonly #checking = new Map<string, Promise<boolean>>()
  #known: Htpasswd

  constructor(settings: Settings<BasicAuthConfig, typeof telemetry>, config: HtpasswdConfig) {
    const { host, logger } = settings
    this.#settings = settings
    this.#config = config
    this.#rate = host.rateBudget('password_checks', CHECKS_PER_SECOND, CHECKS_BURST)
    const suffix = import.meta.url.endsWith('.ts') ? 'ts' : 'js' // Published, it is compiled.
    this.#thread = new JobThread(new URL(`./password-thread.${suffix}`, import.meta.url), JOBS)
    this.#known = parseHtpasswd('')
    if (config.file === '') return
    const onContent = (text: string) => this.#read(text)
    this.#file = new WatchedFile({ path: config.file, clock: host.clock, logger, onContent })
  }

  async start(): Promise<void> {
    if (this.#file) await this.#file.start()
    else this.#read('')
    if (this.#known.users.size === 0) throw new RangeError('htpasswd names no user: nobody would get in')
  }

  async shutdown(): Promise<void> {
    this.#file?.stop()
    await this.#thread.stop()
  }

  /** What is inline counts more than what is in the file. */
  #read(text: string): void {
    const { logger } = this.#settings
    this.#known = parseHtpasswd(`${text}\n${this.#config.inline?.reveal() ?? ''}`)
    const { problems } = this.#known
    if (problems.length > 0) logger.warn('lines of htpasswd left out', { problems: problems.slice(0, 20) })
    this.#accepted.clear()
    this.#refused.clear()
  }

  async authenticate(headers: ReadonlyMap<string, readonly string[]>): Promise<AuthData> {
    const raw = encodedCredentials(headers.get('authorization')?.[0])
    if (typeof raw !== 'string') throw this.#refusal(raw.problem)
    const seen = this.#accepted.get(digest(raw).toString('latin1'))
    if (seen) return seen
    const decoded = Buffer.from(raw, 'base64').toString('utf8')
    const colon = decoded.indexOf(':')
    if (colon < 0) throw this.#refusal('the credentials are not user:password')
    const username = decoded.slice(0, colon)
    const known = this.#known
    const right = await this.#check(username, decoded.slice(colon + 1), known)
    if (!right || known.users.get(username) === undefined) throw this.#refusal('user or password is wrong')
    const data: AuthData = new Map([
      ['username', username],
      ['raw', raw],
    ])
    // A file that was read meanwhile may say otherwise.
    if (known === this.#known) this.#accepted.set(digest(raw).toString('latin1'), data)
    this.#countRemembered()
    return data
  }

  #refusal(message: string): UnauthenticatedError {
    this.#settings.telemetry.refused.add(1)
    return new UnauthenticatedError(message)
  }

  async #check(username: string, password: string, known: Htpasswd): Promise<boolean> {
    const entry: Password = known.users.get(username) ?? known.decoy
    if (entry.kind !== 'slow') return checkFast(password, entry)
    const key = digest(username, password, entry.encoded).toString('latin1')
    if (this.#refused.has(key)) return false
    let checking = this.#checking.get(key)
    if (!checking) {
      checking = this.#checkSlow({ password, encoded: entry.encoded })
      this.#checking.set(key, checking)
      checking.catch(() => {}).finally(() => this.#checking.delete(key))
    }
    const right = await checking
    if (!right) this.#refused.set(key, true)
    this.#countRemembered()
    return right
  }

  #countRemembered(): void {
    this.#settings.telemetry.remembered.set(this.#accepted.size + this.#refused.size)
  }

  async #checkSlow(job: PasswordJob): Promise<boolean> {
    const { telemetry } = this.#settings
    if (this.#thread.full || !this.#rate.tryTake(1)) {
      telemetry.postponed.add(1)
      throw new RefusedError('too many passwords are being checked')
    }
    telemetry.checks.add(1)
    return await this.#thread.run<boolean>(job)
  }
}

function encodedCredentials(header: string | undefined): string | { problem: string } {
  if (header === undefined) return { problem: 'no authorization header' }
  if (header.slice(0, 6).toLowerCase() !== 'basic ') return { problem: 'the scheme is not Basic' }
  const encoded = header.slice(6)
  const valid = encoded.length <= MAX_CREDENTIAL_CHARS && /^[A-Za-z0-9+/]+={0,2}$/.test(encoded)
  return valid ? encoded : { problem: 'the credentials are not base64' }
}
