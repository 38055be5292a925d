// The API key: asked for when the server wants one, kept for the session or for good.
import { readModel, setKeyGiver } from "./api.js";
import { byId, showError } from "./dom.js";
import { t } from "./i18n.js";
import { forget, isKeptForGood, recall, remember } from "./storage.js";

let waiting = [];

function open(wrong) {
  const dialog = byId("key-dialog");
  byId("key").value = "";
  byId("key-keep").checked = isKeptForGood("key");
  byId("key-forget").hidden = !recall("key");
  showError(byId("key-error"), wrong ? t("key_wrong") : "");
  if (!dialog.open) dialog.showModal();
  byId("key").focus();
}

function answer(given) {
  for (const resolve of waiting.splice(0)) resolve(given);
}

// `changed` is called with another key, or with none.
export function startKeys(changed) {
  setKeyGiver((wrong) => {
    byId("key-button").hidden = false;
    open(wrong);
    return new Promise((resolve) => waiting.push(resolve));
  });
  byId("key-button").hidden = !recall("key");
  byId("key-button").addEventListener("click", () => open(false));
  byId("key-close").addEventListener("click", () => byId("key-dialog").close());
  byId("key-dialog").addEventListener("close", () => answer(false));
  byId("key-forget").addEventListener("click", () => {
    forget("key");
    byId("key-dialog").close();
    changed();
  });
  byId("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const before = recall("key"), kept = isKeptForGood("key");
    const key = byId("key").value.trim();
    if (!key) return byId("key").focus();
    remember("key", key, byId("key-keep").checked ? "for-good" : "session");
    try {
      await readModel({ quietly: true });
    } catch (error) {
      forget("key");
      if (before) remember("key", before, kept ? "for-good" : "session");
      return showError(byId("key-error"), error.status === 401 ? t("key_wrong") : error.words);
    }
    const asked = waiting.length > 0;
    answer(true);
    byId("key-dialog").close();
    if (!asked) changed();
  });
}
