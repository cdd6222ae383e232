/**
 * `oauth2client` extension: tokens for exporters, by the client credentials grant of OAuth 2 (RFC 6749, section 4.4).
 *
 *     extensions:
 *       oauth2client:
 *         client_id: weir
 *         client_secret: ${env:SECRET}
 *         token_url: https://login.example/oauth2/token
 *
 * One request for a token is under way at a time; the token is kept until `expiry_buffer` before it expires, and given up
 * when a backend refuses it.
 */
import { defineExtension } from '../../component/define.ts'
import { counter } from '../../component/telemetry.ts'
import { OAuth2Client } from './client.ts'
import { config } from './config.ts'

export const telemetry = {
  requests: counter('extension_oauth2client_requests', '{request}', 'Requests for a token.'),
  failures: counter(
    'extension_oauth2client_failures',
    '{request}',
    'Requests for a token that brought none.',
  ),
}

export default defineExtension({
  type: 'oauth2client',
  stability: 'beta',
  summary: 'Tokens for exporters, by OAuth 2 client credentials.',
  runsIn: 'shard',
  config,
  telemetry,
  authenticates: () => ['client'],
  needsTls: true,
  create: (settings) => new OAuth2Client(settings),
})
