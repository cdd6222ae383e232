/**
 * V8's optimizing compilers, held back while the process starts. What is hot then (reading modules, building schemas) is never
 * hot again; compiling it takes a tenth of the CPU of a start and leaves 15 MB of compilers and their memory behind.
 */
import v8 from 'node:v8'

/** For all threads, those that start later included. What is compiled already stays. */
export function holdOptimizing(): void {
  v8.setFlagsFromString('--no-maglev')
  v8.setFlagsFromString('--no-turbofan')
}

export function allowOptimizing(): void {
  v8.setFlagsFromString('--maglev')
  v8.setFlagsFromString('--turbofan')
}
