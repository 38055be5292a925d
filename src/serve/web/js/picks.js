// The two pictures chosen to be compared, as "JOB/INDEX".
const picks = [];
const listeners = new Set();

export const pickOf = (job, picture) => `${job.id}/${picture.index}`;
export const isPicked = (pick) => picks.includes(pick);
export const picked = () => [...picks];
export const onPicks = (listener) => listeners.add(listener);

const tell = () => listeners.forEach((listener) => listener());

// A third takes the place of the older one.
export function togglePick(pick) {
  const at = picks.indexOf(pick);
  if (at >= 0) picks.splice(at, 1);
  else picks.push(pick);
  if (picks.length > 2) picks.shift();
  tell();
}

export function clearPicks() {
  picks.length = 0;
  tell();
}

export function dropPicksOf(job) {
  for (const pick of picked()) if (pick.startsWith(`${job.id}/`)) togglePick(pick);
}

export const compareAddress = () => `#/compare/${picks.join("/")}`;
