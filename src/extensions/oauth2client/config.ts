/** Fields of `oauth2client`. */
import { z } from 'zod'
import { duration, refused, Secret, secret } from '../../config/fields.ts'
import { httpUrlField } from '../../net/client-fields.ts'
import { clientTlsFields } from '../../net/tls.ts'

const grant = 'only the grant client_credentials is built'
const parameter = z.union([z.string(), z.number(), z.boolean()]).transform(String)
const notNegative = () => duration().refine((ms) => ms >= 0, { error: 'must not be negative' })

export const config = z
  .strictObject({
    client_id: z.string().default(''),
    client_id_file: z.string().default('').describe('Wins over client_id; read again for each token.'),
    client_secret: secret().optional(),
    client_secret_file: z
      .string()
      .default('')
      .describe('Wins over client_secret; read again for each token.'),
    token_url: httpUrlField(),
    scopes: z.array(z.string()).nullish(),
    endpoint_params: z
      .record(z.string().min(1), z.union([parameter, z.array(parameter)]))
      .nullish()
      .transform((given) =>
        Object.entries(given ?? {}).flatMap(([name, values]) =>
          [values].flat().map((value) => ({ name, value: new Secret(value) })),
        ),
      )
      .meta({ secret: true, type: 'object' })
      .describe('Sent to token_url with each request.'),
    timeout: notNegative().default(0).describe('Of one request for a token; 0 = 60s.'),
    expiry_buffer: notNegative().prefault('5m').describe('A token is replaced this long before it expires.'),
    tls: clientTlsFields.nullish().transform((given) => given ?? clientTlsFields.parse({})),
    grant_type: z
      .string()
      .default('client_credentials')
      .refine((value) => value === '' || value === 'client_credentials', {
        error: `not supported: ${grant}`,
      }),
    authmode: z
      .string()
      .default('')
      .refine((value) => value === '' || value === 'client-credentials', {
        error: `not supported: ${grant}`,
      }),
    client_certificate_key: refused(grant),
    client_certificate_key_file: refused(grant),
    client_certificate_key_id: refused(grant),
    signature_algorithm: refused(grant),
    iss: refused(grant),
    audience: refused('it belongs to other grants; use endpoint_params: {audience: ...}'),
    claims: refused(grant),
  })
  .superRefine((value, context) => {
    const missing = (name: 'client_id' | 'client_secret') =>
      context.addIssue({ code: 'custom', path: [name], message: `give ${name} or ${name}_file` })
    if (value.client_id === '' && value.client_id_file === '') missing('client_id')
    if ((value.client_secret?.reveal() ?? '') === '' && value.client_secret_file === '')
      missing('client_secret')
  })
