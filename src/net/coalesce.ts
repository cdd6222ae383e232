/** Lists of chunks, for those to whom each piece costs something: a write, a trip to the thread pool. */

export interface Pieces {
  /** Chunks below this are joined. */
  readonly smallBytes: number
  /** To blocks of about this. */
  readonly blockBytes: number
}

/** Large chunks as they are, runs of small ones joined. */
export function coalesce(chunks: readonly Uint8Array[], { smallBytes, blockBytes }: Pieces): Uint8Array[] {
  const blocks: Uint8Array[] = []
  let run: Uint8Array[] = []
  let runBytes = 0
  const close = () => {
    if (run.length > 0) blocks.push(run.length === 1 ? run[0]! : Buffer.concat(run, runBytes))
    run = []
    runBytes = 0
  }
  for (const chunk of chunks) {
    if (chunk.length >= smallBytes) {
      close()
      blocks.push(chunk)
      continue
    }
    run.push(chunk)
    runBytes += chunk.length
    if (runBytes >= blockBytes) close()
  }
  close()
  return blocks
}
