import { byId } from "./dom.js";
import { onLanguage, t } from "./i18n.js";
import { forget, recall, remember } from "./storage.js";

const kThemes = ["system", "light", "dark"];
let theme = kThemes.includes(recall("theme")) ? recall("theme") : "system";

function show() {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme-button").textContent = t(`theme_${theme}`);
}

// One button goes round: as the system, light, dark.
export function startTheme() {
  byId("theme-button").addEventListener("click", () => {
    theme = kThemes[(kThemes.indexOf(theme) + 1) % kThemes.length];
    if (theme === "system") forget("theme");
    else remember("theme", theme);
    show();
  });
  onLanguage(show);
  show();
}
