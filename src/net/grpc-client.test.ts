import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as grpc from '@grpc/grpc-js'
import { afterAll, expect, test } from 'vitest'
import { z } from 'zod'
import { createAuthority, createCertificate } from '../../test/support/certificates.ts'
import { GrpcBackend } from '../../test/support/grpc-backend.ts'
import { TestHost } from '../../test/support/host.ts'
import { ConfigError, RetryableError } from '../errors.ts'
import { grpcClientFields } from './client-fields.ts'
import { GrpcClient, parseGrpcEndpoint, retryDelayMs } from './grpc-client.ts'
import { encodeRpcStatus } from './rpc-status.ts'

const folder = mkdtempSync(join(tmpdir(), 'weir-grpc-'))
afterAll(() => rmSync(folder, { recursive: true }))
const schema = z.strictObject({ endpoint: z.string(), ...grpcClientFields() })
const PATH = '/test.Echo/Call'
const never = () => AbortSignal.timeout(20_000)

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

const authority = createAuthority()
const server = createCertificate(authority, 'server')
const client = createCertificate(authority, 'client')
const ca_file = file('ca.pem', authority.cert)
const cert_file = file('client.pem', client.cert)
const key_file = file('client.key', client.key)

function secureBackend(checkClient: boolean): Promise<GrpcBackend> {
  const pair = { cert_chain: Buffer.from(server.cert), private_key: Buffer.from(server.key) }
  const credentials = grpc.ServerCredentials.createSsl(Buffer.from(authority.cert), [pair], checkClient)
  return new GrpcBackend().start([PATH], credentials)
}

/** The answer to one call, or the error. */
async function call(config: object): Promise<unknown> {
  const made = new GrpcClient(schema.parse(config), new TestHost())
  try {
    made.start()
    return Buffer.from(await made.call(PATH, [Buffer.from('ping')], 10_000, never())).toString()
  } catch (error) {
    return error
  } finally {
    await made.shutdown()
  }
}

test('endpoints, with or without a scheme', () => {
  const f = (endpoint: string, target: string | undefined, forceTls = false) => {
    const parsed = parseGrpcEndpoint(endpoint)
    expect(parsed?.target, endpoint).toBe(target)
    if (parsed) expect(parsed.forceTls, endpoint).toBe(forceTls)
  }
  f('backend:4317', 'dns:backend:4317')
  f('  backend:4317 ', 'dns:backend:4317')
  f(':4317', 'dns:localhost:4317')
  f('[::1]:4317', 'dns:[::1]:4317')
  f('http://backend:4317', 'dns:backend:4317')
  f('https://backend:4317/', 'dns:backend:4317', true)
  f('dns:///backend:4317', 'dns:backend:4317')
  f('dns://8.8.8.8/backend:4317', 'dns:backend:4317')
  f('passthrough:///backend:4317', 'dns:backend:4317')
  f('ipv4:10.0.0.1:4317', 'ipv4:10.0.0.1:4317')
  f('unix:///run/otel.sock', 'unix:/run/otel.sock')
  f('unix:otel.sock', 'unix:otel.sock')
  for (const wrong of [
    '',
    'backend',
    'backend:',
    'backend:x',
    '::1:4317',
    'a:70000',
    'a b:1',
    'a/b:1',
    'unix:',
  ])
    f(wrong, undefined)
})

test('TLS: verifies the server by the CA, https:// forces it, insecure leaves it out', async () => {
  await using backend = await secureBackend(false)
  backend.always = { message: Buffer.from('pong') }
  const { endpoint } = backend
  expect(await call({ endpoint, tls: { ca_file } })).toBe('pong')
  expect(await call({ endpoint: `https://${endpoint}`, tls: { ca_file, insecure: true } })).toBe('pong')
  expect(await call({ endpoint: `http://${endpoint}`, tls: { ca_file } })).toBe('pong')
  expect(await call({ endpoint, tls: { insecure_skip_verify: true } })).toBe('pong')
  expect(await call({ endpoint })).toBeInstanceOf(RetryableError)
  expect(await call({ endpoint, tls: { insecure: true } })).toBeInstanceOf(RetryableError)
  const wrongName = await call({ endpoint, tls: { ca_file, server_name_override: 'other.example' } })
  expect(wrongName).toBeInstanceOf(RetryableError)
})

test('mutual TLS presents the certificate; a missing file is a config error', async () => {
  await using backend = await secureBackend(true)
  backend.always = { message: Buffer.from('pong') }
  const { endpoint } = backend
  expect(await call({ endpoint, tls: { ca_file, cert_file, key_file } })).toBe('pong')
  expect(await call({ endpoint, tls: { ca_file } })).toBeInstanceOf(RetryableError)
  expect(await call({ endpoint, tls: { ca_file: join(folder, 'none.pem') } })).toBeInstanceOf(ConfigError)
})

test('headers that gRPC cannot carry are a config error', async () => {
  const f = (headers: object) => call({ endpoint: '127.0.0.1:1', tls: { insecure: true }, headers })
  expect(await f({ 'a!b': 'x' })).toBeInstanceOf(ConfigError)
  expect(await f({ name: 'caf\u00e9' })).toBeInstanceOf(ConfigError)
  expect(await f({ 'name-bin': 'caf\u00e9' })).toBeInstanceOf(RetryableError)
})

test('finds a backend that comes back, and the authenticator is asked for', async () => {
  const first = await new GrpcBackend().start([PATH])
  const { endpoint } = first
  const made = new GrpcClient(schema.parse({ endpoint, tls: { insecure: true } }), new TestHost())
  made.start()
  await made.call(PATH, [Buffer.from('a')], 0, never())
  await first[Symbol.asyncDispose]()
  await expect(made.call(PATH, [Buffer.from('b')], 0, never())).rejects.toThrow(RetryableError)
  const port = Number(endpoint.split(':')[1])
  await using second = await new GrpcBackend().start([PATH], grpc.ServerCredentials.createInsecure(), port)
  for (let round = 0; round < 200 && second.calls.length === 0; round++) {
    await made.call(PATH, [Buffer.from('c')], 0, never()).catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  expect(second.calls.length).toBe(1)
  await made.shutdown()
  const auth = { endpoint, auth: { authenticator: 'oauth2client' } }
  expect(await call(auth)).toMatchObject({ message: expect.stringContaining('not among service.extensions') })
})

test('the delay in a Status', () => {
  expect(retryDelayMs(encodeRpcStatus({ code: 14, message: 'x', retryAfterMs: 1500 }))).toBe(1500)
  expect(retryDelayMs(encodeRpcStatus({ code: 14, message: 'x', badRequest: true }))).toBeUndefined()
  expect(retryDelayMs(encodeRpcStatus({ code: 14, message: 'x', badRequest: true, retryAfterMs: 20 }))).toBe(
    20,
  )
  for (const broken of [[0x1a, 0x05, 0x0a], [0xff], [0x1a, 0x02, 0x12, 0x09]])
    expect(retryDelayMs(Buffer.from(broken))).toBeUndefined()
})
