/**
 * A backend in a process of its own, so that it can be stopped with a signal. Says its port, and how many
 * different spans it has when it is asked.
 */
import { Sink } from './sink.ts'

const seen = new Set<number>()
const sink = await new Sink((serial) => void seen.add(serial)).start()
process.on('message', () => process.send?.({ spans: seen.size }))
process.on('disconnect', () => process.exit(0))
process.send?.({ url: sink.url })
