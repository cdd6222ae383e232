/** Component ids: `type` or `type/name`, with the parts around the slash trimmed. */

const TYPE = /^[a-zA-Z][0-9a-zA-Z_]{0,62}$/
/** Letters, digits, marks and punctuation: no white space, control or symbol characters. */
const NAME = /^[^\p{Z}\p{C}\p{S}\s]{1,1024}$/u

export interface ComponentId {
  readonly type: string
  /** The id as it is used: trimmed. */
  readonly id: string
}

/** The id, or what is wrong with it. */
export function parseId(text: string): ComponentId | string {
  const slash = text.indexOf('/')
  const type = (slash < 0 ? text : text.slice(0, slash)).trim()
  if (type === '') return `"${text}" is not a component id: the part before "/" must not be empty`
  if (!TYPE.test(type)) {
    return `"${type}" is not a component type: letters, digits and "_", a letter first, at most 63`
  }
  if (slash < 0) return { type, id: type }
  const name = text.slice(slash + 1).trim()
  if (name === '') return `"${text}" is not a component id: the part after "/" must not be empty`
  if (!NAME.test(name)) {
    return `"${text}" is not a component id: a name has no spaces, control or symbol characters, at most 1024`
  }
  return { type, id: `${type}/${name}` }
}
