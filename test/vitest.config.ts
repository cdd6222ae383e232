import { defineConfig } from 'vitest/config'

// Two slow, noisy cores: few workers, generous limits. No test asserts on wall-clock speed.
export default defineConfig({
  // Plugins of the examples import the package by its name.
  resolve: {
    alias: [
      { find: /^weir-collector$/, replacement: new URL('../src/index.ts', import.meta.url).pathname },
      {
        find: /^weir-collector\/testing$/,
        replacement: new URL('../src/testing.ts', import.meta.url).pathname,
      },
    ],
  },
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
