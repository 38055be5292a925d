// What the page remembers. Storage may be switched off or full: then it is remembered until the page is closed.
const memory = new Map();
const name = (key) => `glm-image.${key}`;

function attempt(action) {
  try {
    return action();
  } catch {
    return null;
  }
}

export function recall(key) {
  return attempt(() => localStorage.getItem(name(key))) ?? attempt(() => sessionStorage.getItem(name(key))) ??
         memory.get(key) ?? null;
}

// `where`: "for-good", or "session" (until the tab is closed).
export function remember(key, value, where = "for-good") {
  forget(key);
  memory.set(key, value);
  attempt(() => (where === "session" ? sessionStorage : localStorage).setItem(name(key), value));
}

export function forget(key) {
  memory.delete(key);
  attempt(() => localStorage.removeItem(name(key)));
  attempt(() => sessionStorage.removeItem(name(key)));
}

export const isKeptForGood = (key) => attempt(() => localStorage.getItem(name(key))) !== null;
