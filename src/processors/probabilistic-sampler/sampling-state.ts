/**
 * What an item says about how it was sampled: from its tracestate, or from its attributes if it is a log
 * record.
 */
export class SamplingState {
  hasRandomness = false
  randomHigh = 0
  randomLow = 0
  hasThreshold = false
  thresholdHigh = 0
  thresholdLow = 0

  clear(): void {
    this.hasRandomness = false
    this.hasThreshold = false
  }

  setRandomness(high: number, low: number): void {
    this.hasRandomness = true
    this.randomHigh = high
    this.randomLow = low
  }

  setThreshold(high: number, low: number): void {
    this.hasThreshold = true
    this.thresholdHigh = high
    this.thresholdLow = low
  }
}

/** True when the first number is less than the second. */
export function isLess(high: number, low: number, otherHigh: number, otherLow: number): boolean {
  return high < otherHigh || (high === otherHigh && low < otherLow)
}
