/**
 * `basicauth` extension: user and password, asked of callers or sent to backends.
 *
 *     extensions:
 *       basicauth/server: { htpasswd: { file: /etc/weir/.htpasswd } }
 *       basicauth/client: { client_auth: { username: weir, password: ${env:PASSWORD} } }
 *
 * Passwords are compared without telling by the time it takes whether a user exists. What is known of the caller is its
 * `username`, and `raw`, what it sent.
 */
import { defineExtension } from '../../component/define.ts'
import { BasicAuthClient } from './client.ts'
import { config } from './config.ts'
import { BasicAuthServer } from './server.ts'
import { telemetry } from './telemetry.ts'

export default defineExtension({
  type: 'basicauth',
  stability: 'beta',
  summary: 'User and password, asked of callers or sent to backends.',
  runsIn: 'shard',
  config,
  telemetry,
  authenticates: (config) => (config.htpasswd ? ['server'] : ['client']),
  needsTls: true,
  create(settings) {
    const { htpasswd, client_auth } = settings.config
    if (htpasswd) return new BasicAuthServer(settings, htpasswd)
    if (client_auth) return new BasicAuthClient(settings, client_auth)
    throw new RangeError('neither htpasswd nor client_auth')
  },
})
