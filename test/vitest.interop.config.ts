import { defineConfig } from 'vitest/config'

// Real clients and servers: one file at a time, since each starts several programs on two cores.
export default defineConfig({
  test: {
    include: ['test/integration/**/*.test.ts', 'test/packaging/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    maxWorkers: 1,
    testTimeout: 300_000,
    hookTimeout: 300_000,
    reporters: ['default'],
  },
})
