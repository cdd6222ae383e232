/** Fields of `oidc`: a list of providers, or the fields of a single one at the top, as older files have it. */
import { z } from 'zod'
import { httpUrlField } from '../../net/client-fields.ts'

const MAX_PROVIDERS = 100

const fields = {
  issuer_url: z.string().default(''),
  audience: z.string().default(''),
  ignore_audience: z.boolean().default(false),
  ignore_issuer: z
    .boolean()
    .default(false)
    .describe('Tokens of any issuer, if the keys of this one signed them.'),
  issuer_ca_path: z.string().default('').describe('Certificate that the server of the issuer is checked by.'),
  username_claim: z.string().default('').describe('Instead of sub.'),
  groups_claim: z.string().default(''),
  public_keys_file: z.string().default('').describe('JWK set; instead of asking the issuer.'),
}

const provider = z.strictObject(fields)
export type ProviderConfig = z.output<typeof provider>

export const config = z
  .strictObject({
    attribute: z.string().default('authorization').describe('The header with the token.'),
    ...fields,
    providers: z.array(provider).max(MAX_PROVIDERS).nullish(),
  })
  .superRefine((value, context) => {
    const issue = (path: (string | number)[], message: string) =>
      context.addIssue({ code: 'custom', path, message })
    const list = providersOf(value)
    const offset = list.length - (value.providers ?? []).length
    if (list.length === 0) issue(['providers'], 'at least one provider')
    const seen = new Set<string>()
    for (const [index, one] of list.entries()) {
      const path = index < offset ? [] : ['providers', index - offset]
      if (!httpUrlField().safeParse(one.issuer_url).success)
        issue(
          [...path, 'issuer_url'],
          'expected the URL of the issuer, such as https://login.example/realms/x',
        )
      if (one.audience === '' && !one.ignore_audience)
        issue([...path, 'audience'], 'give audience, or ignore_audience: true')
      if (seen.has(one.issuer_url)) issue([...path, 'issuer_url'], 'there are two providers of this issuer')
      if (one.ignore_issuer && list.length > 1)
        issue([...path, 'ignore_issuer'], 'only with a single provider')
      seen.add(one.issuer_url)
    }
  })
export type Config = z.output<typeof config>

export function providersOf(value: Config): readonly ProviderConfig[] {
  const { attribute: _, providers, ...single } = value
  const given = Object.values(single).some((one) => one !== '' && one !== false)
  return [...(given ? [single] : []), ...(providers ?? [])]
}
