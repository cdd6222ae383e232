/** JSON Schema of test files, for editors. */
import { convert } from '../../config/json-schema.ts'
import { testFileSchema } from './schema.ts'

export function testsSchema(): Record<string, unknown> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Weir pipeline tests',
    ...convert(testFileSchema),
  }
}
