import { defineProcessor } from 'weir-collector'

export default defineProcessor({
  type: 'set_attribute',
  edit: () => ({
    span(span) {
      span.attributes.set('environment', 'production')
    },
  }),
})
