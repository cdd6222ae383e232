export { ScriptedClock, settle } from '../../src/testing/clock.ts'
