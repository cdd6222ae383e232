/**
 * The HTTP client fields of a scrape config, under Prometheus' own names, which are not those of the
 * collector.
 */
import { z } from 'zod'
import { harmless, refused, Secret, secret } from '../../config/fields.ts'
import { type ClientTlsConfig, clientTlsFields } from '../../net/tls.ts'

const TLS_VERSIONS = { TLS10: '1.0', TLS11: '1.1', TLS12: '1.2', TLS13: '1.3' } as const
const tlsVersion = () =>
  z
    .enum(['', 'TLS10', 'TLS11', 'TLS12', 'TLS13'], { error: 'expected TLS10, TLS11, TLS12 or TLS13' })
    .default('')
/** Certificates that are renewed in place are found without a restart. */
const TLS_RELOAD = '1m'

const noSecrets = refused('secrets are given in place or by file')

const tlsFields = z
  .strictObject({
    ca: z.string().default(''),
    ca_file: z.string().default(''),
    ca_ref: noSecrets,
    cert: z.string().default(''),
    cert_file: z.string().default(''),
    cert_ref: noSecrets,
    key: secret().default(new Secret('')),
    key_file: z.string().default(''),
    key_ref: noSecrets,
    server_name: z.string().default(''),
    insecure_skip_verify: z.boolean().default(false),
    min_version: tlsVersion(),
    max_version: tlsVersion(),
  })
  .transform((given, context): ClientTlsConfig => {
    const version = (word: typeof given.min_version) => (word === '' ? '' : TLS_VERSIONS[word])
    const made = clientTlsFields.safeParse({
      ca_pem: given.ca,
      ca_file: given.ca_file,
      cert_pem: given.cert,
      cert_file: given.cert_file,
      key_pem: given.key.reveal(),
      key_file: given.key_file,
      server_name_override: given.server_name,
      insecure_skip_verify: given.insecure_skip_verify,
      min_version: version(given.min_version),
      max_version: version(given.max_version),
      reload_interval: TLS_RELOAD,
    })
    if (made.success) return made.data
    for (const { path, message } of made.error.issues) {
      const key = String(path[0] ?? '').replace('_pem', '')
      context.addIssue({ code: 'custom', path: key === '' ? [] : [key], message })
    }
    return z.NEVER
  })

const NO_TLS_FIELDS = () => tlsFields.parse({})

const headerName = z.string().regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/, { error: 'not a header name' })
/** Set by the scrape itself, so nobody else may. */
const RESERVED_HEADERS = new Set([
  'authorization',
  'host',
  'content-encoding',
  'content-length',
  'content-type',
  'user-agent',
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'www-authenticate',
  'accept-encoding',
  'x-prometheus-scrape-timeout-seconds',
])
const lineless = (text: string) => !/[\r\n\0]/.test(text)
const oneLine = { error: 'a header value cannot hold line breaks' }

const headerFields = z.strictObject({
  values: z.array(z.string().refine(lineless, oneLine)).default([]),
  secrets: z.array(secret().refine((one) => lineless(one.reveal()), oneLine)).default([]),
  files: z.array(z.string().min(1)).default([]),
})

export const httpFields = {
  basic_auth: z
    .strictObject({
      username: z.string().default(''),
      username_file: z.string().default(''),
      username_ref: noSecrets,
      password: secret().default(new Secret('')),
      password_file: z.string().default(''),
      password_ref: noSecrets,
    })
    .nullish(),
  authorization: z
    .strictObject({
      type: z.string().default('Bearer'),
      credentials: secret().default(new Secret('')),
      credentials_file: z.string().default(''),
      credentials_ref: noSecrets,
    })
    .nullish(),
  bearer_token: secret().optional().describe('Legacy form of authorization.credentials.'),
  bearer_token_file: z.string().default('').describe('Legacy form of authorization.credentials_file.'),
  oauth2: refused('tokens are not fetched; use authorization with credentials_file'),
  tls_config: tlsFields.nullish().transform((given) => given ?? NO_TLS_FIELDS()),
  follow_redirects: z.boolean().default(true),
  enable_http2: harmless('targets are scraped over HTTP/1.1', z.boolean()),
  proxy_url: z
    .union([z.literal(''), z.url({ protocol: /^https?$/, error: 'expected http://host:port' })])
    .default(''),
  no_proxy: z.string().default(''),
  proxy_from_environment: z.boolean().default(false),
  proxy_connect_header: refused('proxies are asked without headers of your own'),
  http_headers: z.record(headerName, headerFields).nullish(),
}

const httpShape = z.strictObject(httpFields)
export type HttpConfig = z.output<typeof httpShape>

export function checkHttp(
  config: HttpConfig,
  issue: (path: readonly (string | number)[], message: string) => void,
): void {
  const { basic_auth: basic, authorization } = config
  const bearer = config.bearer_token !== undefined || config.bearer_token_file !== ''
  if (Number(!!basic) + Number(!!authorization) + Number(bearer) > 1)
    issue([], 'at most one of basic_auth, authorization and bearer_token may be there')
  if (config.bearer_token !== undefined && config.bearer_token_file !== '')
    issue(['bearer_token_file'], 'at most one of bearer_token and bearer_token_file may be there')
  if (basic && basic.password.reveal() !== '' && basic.password_file !== '')
    issue(['basic_auth', 'password_file'], 'at most one of password and password_file may be there')
  if (basic && basic.username !== '' && basic.username_file !== '')
    issue(['basic_auth', 'username_file'], 'at most one of username and username_file may be there')
  if (authorization) {
    if (authorization.credentials.reveal() !== '' && authorization.credentials_file !== '')
      issue(
        ['authorization', 'credentials_file'],
        'at most one of credentials and credentials_file may be there',
      )
    if (authorization.type.toLowerCase() === 'basic')
      issue(['authorization', 'type'], 'for Basic use basic_auth')
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(authorization.type))
      issue(['authorization', 'type'], 'not an authorization scheme')
  }
  if (config.proxy_from_environment && (config.proxy_url !== '' || config.no_proxy !== ''))
    issue(['proxy_from_environment'], 'excludes proxy_url and no_proxy')
  if (config.no_proxy !== '' && config.proxy_url === '') issue(['no_proxy'], 'needs proxy_url')
  for (const name of Object.keys(config.http_headers ?? {}))
    if (RESERVED_HEADERS.has(name.toLowerCase())) issue(['http_headers', name], 'is set by the scrape itself')
}
