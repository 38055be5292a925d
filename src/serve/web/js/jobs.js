// Jobs that were read from the server, so that going from view to view does not read them again.
import { readJob } from "./api.js";

const jobs = new Map();

export function keepJobs(list) {
  for (const job of list) jobs.set(job.id, job);
}

export async function findJob(id) {
  const known = jobs.get(id);
  if (known && ["done", "failed", "cancelled"].includes(known.state)) return known;
  const job = await readJob(id);
  jobs.set(id, job);
  return job;
}

export const dropJob = (id) => jobs.delete(id);
export const dropJobs = () => jobs.clear();
