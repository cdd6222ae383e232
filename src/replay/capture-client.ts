/** `weir sampling capture`: asks a running collector on this machine for a capture and puts the files where they are wanted. */
import { constants } from 'node:fs'
import { copyFile, rm } from 'node:fs/promises'
import { ConfigError, toError } from '../errors.ts'
import { http } from '../net/node-http.ts'
import { TIMES_SUFFIX } from '../otlp/capture-format.ts'
import { bytes, count } from './numbers.ts'

export interface CaptureCommand {
  /** `host:port` of `service.admin`. */
  readonly endpoint: string
  readonly pipeline: string
  /** As in the configuration: `60s`. */
  readonly duration: string
  readonly maxMb: number
  /** Where the capture goes; without it, it stays in the directory of the collector. */
  readonly out?: string | undefined
}

interface Answer {
  readonly file: string
  readonly messages: number
  readonly bytes: number
  readonly seconds: number
  readonly missed: number
  readonly ended: string
}

export async function captureCommand(options: CaptureCommand): Promise<void> {
  const { endpoint, pipeline, duration, maxMb } = options
  const query = new URLSearchParams({ pipeline, duration, max_mb: String(maxMb) })
  process.stderr.write(`capturing what enters ${pipeline} for ${duration}, at most ${maxMb} MB\n`)
  const { status, text } = await post(endpoint, `/-/capture?${query}`)
  if (status !== 200) throw problem(endpoint, `the collector answered ${status}: ${text.trim()}`)
  const answer = JSON.parse(text) as Answer // Made by service/capture.ts.
  const file = options.out === undefined ? answer.file : await moveTo(options.out, answer.file)
  const missed = answer.missed > 0 ? `, ${count(answer.missed)} came too fast and are missing` : ''
  process.stdout.write(
    `${file}: ${count(answer.messages)} messages, ${bytes(answer.bytes)}, ${answer.seconds} s (ended by ${answer.ended})${missed}\n`,
  )
}

/** Takes both files over; an older file of that name stays as it is, and is an error. */
async function moveTo(out: string, file: string): Promise<string> {
  try {
    for (const suffix of ['', TIMES_SUFFIX])
      await copyFile(file + suffix, out + suffix, constants.COPYFILE_EXCL)
  } catch (error) {
    throw problem(out, `${toError(error).message}; the capture is in ${file}`)
  }
  for (const suffix of ['', TIMES_SUFFIX]) await rm(file + suffix, { force: true })
  return out
}

function post(endpoint: string, path: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const request = http.request(`http://${endpoint}${path}`, { method: 'POST' }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
      response.on('error', reject)
    })
    request.on('error', (error) => reject(problem(endpoint, `no collector answers: ${error.message}`)))
    request.end()
  })
}

function problem(file: string, message: string): ConfigError {
  return new ConfigError([{ file, line: 0, column: 0, path: '', message }])
}
