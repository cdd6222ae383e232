/** Fields of `basicauth`: either side, not both. */
import { z } from 'zod'
import { refused, secret } from '../../config/fields.ts'

const htpasswd = z
  .strictObject({
    file: z.string().default('').describe('Read again when it changes.'),
    inline: secret().optional().describe('Lines as in the file; they count more.'),
  })
  .superRefine((value, context) => {
    if (value.file === '' && (value.inline?.reveal() ?? '').trim() === '')
      context.addIssue({ code: 'custom', path: ['file'], message: 'give file or inline' })
  })

const clientAuth = z
  .strictObject({
    username: z.string().default(''),
    username_file: z.string().default('').describe('Wins over username; read again when it changes.'),
    password: secret().optional(),
    password_file: z.string().default('').describe('Wins over password; read again when it changes.'),
    aws_secrets_manager: refused('secrets of AWS are not read; use username_file and password_file'),
  })
  .superRefine((value, context) => {
    if (value.username.includes(':'))
      context.addIssue({ code: 'custom', path: ['username'], message: 'a user name cannot hold a colon' })
  })

export const config = z
  .strictObject({
    htpasswd: htpasswd.optional().describe('For receivers: who may in.'),
    client_auth: clientAuth.optional().describe('For exporters: what is sent.'),
  })
  .superRefine((value, context) => {
    if (value.htpasswd && value.client_auth)
      context.addIssue({
        code: 'custom',
        path: ['client_auth'],
        message: 'htpasswd and client_auth exclude each other: configure two extensions',
      })
    if (!value.htpasswd && !value.client_auth)
      context.addIssue({
        code: 'custom',
        message: 'give htpasswd (for receivers) or client_auth (for exporters)',
      })
  })

export type BasicAuthConfig = z.output<typeof config>
export type Htpasswd = z.output<typeof htpasswd>
export type ClientAuth = z.output<typeof clientAuth>
