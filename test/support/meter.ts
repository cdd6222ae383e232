export { TestMeter } from '../../src/testing/meter.ts'
