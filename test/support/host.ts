export { TestHost } from '../../src/testing/host.ts'
