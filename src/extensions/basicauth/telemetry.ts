/** What the `basicauth` extension counts. */
import { counter, gauge } from '../../component/telemetry.ts'

export const telemetry = {
  refused: counter('extension_auth_refused', '{request}', 'Requests whose credentials were refused.'),
  checks: counter('extension_basicauth_checks', '{check}', 'Slow password hashes that were computed.'),
  postponed: counter(
    'extension_basicauth_postponed',
    '{request}',
    'Requests told to come back, since too many passwords were being checked.',
  ),
  remembered: gauge('extension_auth_remembered', '{credential}', 'Checked credentials that are remembered.'),
}
