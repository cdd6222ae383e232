/**
 * TLS on both sides: the `tls:` block of a config, and what node:tls needs to serve or connect with it.
 *
 * Files are read when a component starts, and a file that is missing or broken is an error then, with its name. With
 * `reload_interval` they are read again at the first handshake after it; if that fails the old ones stay in use.
 */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import tls from 'node:tls'
import { z } from 'zod'
import { duration, refused, Secret, secret } from '../config/fields.ts'
import { ConfigError, toError } from '../errors.ts'
import { CURVES, cipherList, INSECURE_SUITES, SAFE_SUITES, TLS13_SUITES } from './tls-names.ts'

const VERSIONS = { '1.0': 'TLSv1', '1.1': 'TLSv1.1', '1.2': 'TLSv1.2', '1.3': 'TLSv1.3' } as const
const version = z.enum(['', '1.0', '1.1', '1.2', '1.3'], { error: 'expected "1.0", "1.1", "1.2" or "1.3"' })

const common = {
  ca_file: z.string().default(''),
  ca_pem: z.string().default(''),
  cert_file: z.string().default(''),
  cert_pem: z.string().default(''),
  key_file: z.string().default(''),
  key_pem: secret().default(new Secret('')),
  include_system_ca_certs_pool: z.boolean().default(false),
  min_version: version.default(''),
  max_version: version.default(''),
  cipher_suites: z.array(z.string()).nullish(),
  include_insecure_cipher_suites: z.boolean().default(false),
  curve_preferences: z.array(z.string()).nullish(),
  reload_interval: duration().default(0),
  tpm: refused('keys in a TPM cannot be used'),
}

export const serverTlsFields = z
  .strictObject({
    ...common,
    client_ca_file: z.string().default(''),
    client_ca_file_reload: z.boolean().default(false),
  })
  .superRefine((config, context) => {
    checkCommon(config, context)
    if (!hasCertificate(config))
      context.addIssue({
        code: 'custom',
        message: 'a server needs cert_file or cert_pem and key_file or key_pem',
      })
    if (config.client_ca_file_reload && config.client_ca_file === '')
      context.addIssue({
        code: 'custom',
        path: ['client_ca_file_reload'],
        message: 'client_ca_file_reload needs client_ca_file',
      })
  })

export const clientTlsFields = z
  .strictObject({
    ...common,
    insecure: z.boolean().default(false),
    insecure_skip_verify: z.boolean().default(false),
    server_name_override: z.string().default(''),
  })
  .superRefine(checkCommon)

export type ServerTlsConfig = z.output<typeof serverTlsFields>
export type ClientTlsConfig = z.output<typeof clientTlsFields>
type CommonConfig = Pick<ServerTlsConfig, keyof typeof common>

function hasCertificate(config: CommonConfig): boolean {
  return config.cert_file !== '' || config.cert_pem !== ''
}

function hasKey(config: CommonConfig): boolean {
  return config.key_file !== '' || config.key_pem.reveal() !== ''
}

function checkCommon(config: CommonConfig, context: z.RefinementCtx): void {
  const issue = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message })
  if (config.ca_file !== '' && config.ca_pem !== '') issue('ca_pem', 'ca_file and ca_pem exclude each other')
  if (config.cert_file !== '' && config.cert_pem !== '')
    issue('cert_pem', 'cert_file and cert_pem exclude each other')
  if (config.key_file !== '' && config.key_pem.reveal() !== '')
    issue('key_pem', 'key_file and key_pem exclude each other')
  if (hasCertificate(config) !== hasKey(config))
    issue(hasKey(config) ? 'key_file' : 'cert_file', 'a certificate and its key are needed together')
  const minimum = config.min_version || '1.2'
  if (config.max_version !== '' && minimum > config.max_version)
    issue('min_version', `min_version ${minimum} is above max_version ${config.max_version}`)
  if (config.reload_interval < 0) issue('reload_interval', 'must not be negative')
  for (const name of config.cipher_suites ?? []) {
    if (Object.hasOwn(SAFE_SUITES, name) || TLS13_SUITES.includes(name)) continue
    if (!Object.hasOwn(INSECURE_SUITES, name)) issue('cipher_suites', `unknown cipher suite "${name}"`)
    else if (!config.include_insecure_cipher_suites)
      issue('cipher_suites', `"${name}" is insecure and needs include_insecure_cipher_suites`)
  }
  for (const name of config.curve_preferences ?? [])
    if (!Object.hasOwn(CURVES, name))
      issue('curve_preferences', `unknown curve "${name}", expected one of ${Object.keys(CURVES).join(', ')}`)
}

function problem(path: string, field: string, message: string): ConfigError {
  return new ConfigError([{ file: path, line: 0, column: 0, path: `tls.${field}`, message }])
}

function readPem(path: string, field: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw problem(path, field, `cannot be read: ${toError(error).message}`)
  }
}

/** PEM text with at least one certificate in it; else an error that names where it came from. */
function readCertificates(path: string, pem: string, field: string): string | undefined {
  if (path === '' && pem === '') return undefined
  const text = path === '' ? pem : readPem(path, `${field}_file`).toString()
  const label = path === '' ? `${field}_pem` : `${field}_file`
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)
  if (!blocks) throw problem(path === '' ? label : path, label, 'holds no PEM certificate')
  for (const block of blocks) {
    try {
      new X509Certificate(block)
    } catch (error) {
      throw problem(path === '' ? label : path, label, `broken certificate: ${toError(error).message}`)
    }
  }
  return text
}

function trusted(config: CommonConfig): string[] | undefined {
  const own = readCertificates(config.ca_file, config.ca_pem, 'ca')
  if (own === undefined) return undefined
  return config.include_system_ca_certs_pool ? [...systemCertificates(), own] : [own]
}

function systemCertificates(): readonly string[] {
  return tls.getCACertificates('system')
}

/** What both sides share; throws ConfigError when the files do not make a working pair. */
function secureOptions(config: CommonConfig): tls.SecureContextOptions {
  const options: tls.SecureContextOptions = {
    minVersion: VERSIONS[config.min_version || '1.2'],
    ciphers: cipherList(
      config.cipher_suites ?? [],
      config.min_version === '1.0' || config.min_version === '1.1',
    ),
  }
  if (config.max_version !== '') options.maxVersion = VERSIONS[config.max_version]
  const curves = config.curve_preferences ?? []
  if (curves.length > 0) options.ecdhCurve = curves.map((name) => CURVES[name] ?? name).join(':')
  const certificate = readCertificates(config.cert_file, config.cert_pem, 'cert')
  if (certificate !== undefined) {
    options.cert = certificate
    options.key = config.key_file === '' ? config.key_pem.reveal() : readPem(config.key_file, 'key_file')
  }
  try {
    tls.createSecureContext(options)
  } catch (error) {
    const field = config.key_file === '' ? 'key_pem' : 'key_file'
    throw problem(config.key_file || field, field, `does not work: ${toError(error).message}`)
  }
  return options
}

/** Throws ConfigError when a file is missing or broken. */
export function serverTlsOptions(config: ServerTlsConfig): tls.TlsOptions {
  const options: tls.TlsOptions = secureOptions(config)
  if (config.client_ca_file !== '') {
    options.ca = readCertificates(config.client_ca_file, '', 'client_ca') ?? ''
    options.requestCert = true
    options.rejectUnauthorized = true
  }
  return options
}

/**
 * Options for tls.connect; undefined when the connection is to be plaintext (`insecure`, unless a CA is given). Reads the files
 * each time; a caller with connections to renew keeps a ClientTls instead. Throws ConfigError.
 */
export function clientTlsOptions(config: ClientTlsConfig): tls.ConnectionOptions | undefined {
  const ca = trusted(config)
  if (config.insecure && ca === undefined) return undefined
  const options: tls.ConnectionOptions = secureOptions(config)
  options.ca = ca ?? [...systemCertificates(), ...tls.rootCertificates]
  if (config.insecure_skip_verify) options.rejectUnauthorized = false
  if (config.server_name_override !== '') options.servername = config.server_name_override
  return options
}

/** Client options that follow `reload_interval`. */
export class ClientTls {
  readonly #config: ClientTlsConfig
  readonly #nowMs: () => number
  #options: tls.ConnectionOptions | undefined
  #loadedMs: number

  constructor(config: ClientTlsConfig, nowMs: () => number = () => performance.now()) {
    this.#config = config
    this.#nowMs = nowMs
    this.#options = clientTlsOptions(config)
    this.#loadedMs = nowMs()
  }

  /** For the connection that is about to be made. Files that broke meanwhile leave the old options in use. */
  options(): tls.ConnectionOptions | undefined {
    const interval = this.#config.reload_interval
    if (interval > 0 && this.#nowMs() - this.#loadedMs >= interval) {
      this.#loadedMs = this.#nowMs()
      try {
        this.#options = clientTlsOptions(this.#config)
      } catch {
        // What worked so far goes on working; a certificate that expires shows as a failed connection.
      }
    }
    return this.#options
  }
}
