/** Numbers as people read them, for the table and the page. */

export function count(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',')
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

export function bytes(value: number): string {
  let unit = 0
  let scaled = value
  while (scaled >= 999.5 && unit < UNITS.length - 1) {
    scaled /= 1000
    unit++
  }
  return `${unit === 0 || scaled >= 99.95 ? Math.round(scaled) : scaled.toFixed(1)} ${UNITS[unit]}`
}

/** A share from 0 to 1. Neither nothing nor everything is claimed by rounding. */
export function percent(share: number): string {
  const value = share * 100
  if (value > 0 && value < 0.1) return '<0.1 %'
  if (value < 100 && value > 99.9) return '>99.9 %'
  return `${value === 0 || value === 100 ? value : value.toFixed(1)} %`
}

export function milliseconds(ms: number): string {
  if (ms < 1) return `${Math.round(ms * 1000)} us`
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
  return seconds(ms / 1000)
}

export function seconds(value: number): string {
  if (value < 60) return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`
  const whole = Math.round(value)
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`
  return `${Math.floor(whole / 86_400)} d ${Math.floor(whole / 3600) % 24} h`
}
