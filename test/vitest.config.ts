import { defineConfig } from 'vitest/config'

// Two slow, noisy cores: few workers, generous limits. No test asserts on wall-clock speed.
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'proto/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: ['test/integration/**', 'test/packaging/**', '**/node_modules/**'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default'],
  },
})
