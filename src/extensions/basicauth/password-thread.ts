/** The thread in which slow passwords are checked, so that guessing them holds up no shard. */
import { serveJobs } from '../../workers/job-thread.ts'
import { checkSlow } from './slow-hashes.ts'

export interface PasswordJob {
  readonly password: string
  readonly encoded: string
}

serveJobs((job: PasswordJob) => checkSlow(job.password, job.encoded))
