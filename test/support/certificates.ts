/**
 * Certificates for tests, made on the spot: a CA and what it signs, ECDSA on P-256, valid from 2020 to 2099. Only as much
 * of X.509 (RFC 5280) as node:tls asks for.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

export interface Certificate {
  readonly cert: string
  readonly key: string
}

function der(tag: number, ...content: Uint8Array[]): Buffer {
  const body = Buffer.concat(content)
  const length =
    body.length < 128
      ? Buffer.from([body.length])
      : body.length < 256
        ? Buffer.from([0x81, body.length])
        : Buffer.from([0x82, body.length >> 8, body.length & 255])
  return Buffer.concat([Buffer.from([tag]), length, body])
}

const sequence = (...content: Uint8Array[]) => der(0x30, ...content)
const oid = (...bytes: number[]) => der(0x06, Buffer.from(bytes))
const ECDSA_SHA256 = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02))
const COMMON_NAME = oid(0x55, 0x04, 0x03)
const BASIC_CONSTRAINTS = oid(0x55, 0x1d, 0x13)
const SUBJECT_ALT_NAME = oid(0x55, 0x1d, 0x11)
const TRUE = der(0x01, Buffer.from([0xff]))
const VALIDITY = sequence(
  der(0x18, Buffer.from('20200101000000Z')),
  der(0x18, Buffer.from('20990101000000Z')),
)
/** localhost and 127.0.0.1 */
const LOCAL_NAMES = sequence(der(0x82, Buffer.from('localhost')), der(0x87, Buffer.from([127, 0, 0, 1])))

function name(text: string): Buffer {
  return sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from(text)))))
}

let serial = 1

function issue(
  subject: string,
  publicKey: KeyObject,
  issuer: string,
  issuerKey: KeyObject,
  ca: boolean,
): string {
  const number = Buffer.from([0x01, (serial >> 8) & 255, serial++ & 255])
  const extensions = sequence(
    ca
      ? sequence(BASIC_CONSTRAINTS, TRUE, der(0x04, sequence(TRUE)))
      : sequence(SUBJECT_ALT_NAME, der(0x04, LOCAL_NAMES)),
  )
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, number),
    ECDSA_SHA256,
    name(issuer),
    VALIDITY,
    name(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, extensions),
  )
  const signature = sign('sha256', body, issuerKey)
  const bytes = sequence(body, ECDSA_SHA256, der(0x03, Buffer.from([0]), signature))
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}

export function createAuthority(subject = 'test authority'): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { cert: issue(subject, publicKey, subject, privateKey, true), key: pem(privateKey) }
}

/** A certificate for localhost and 127.0.0.1, good for servers and clients. `issuer` is the subject of the authority. */
export function createCertificate(
  authority: Certificate,
  subject: string,
  issuer = 'test authority',
): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const issuerKey = createPrivateKey(authority.key)
  return { cert: issue(subject, publicKey, issuer, issuerKey, false), key: pem(privateKey) }
}
