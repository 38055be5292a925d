// Words in the reader's language. A language is a file in words/ with the same keys as the others.
import en from "./words/en.js";
import zh from "./words/zh.js";
import { recall, remember } from "./storage.js";

const languages = { en, zh };
const tags = { en: "en", zh: "zh-Hans" };
const listeners = new Set();
let current = choose();

function choose() {
  const kept = recall("language");
  if (kept in languages) return kept;
  for (const tag of navigator.languages ?? [navigator.language]) {
    const found = Object.keys(languages).find((each) => tag.toLowerCase().startsWith(each));
    if (found) return found;
  }
  return "en";
}

export const language = () => current;
export const otherLanguage = () => (current === "en" ? "zh" : "en");
export const nameOf = (each) => languages[each].language_name;
export const tagOf = (each) => tags[each];

// The words of a key, with {names} filled in. An unknown key is shown as it is: tests look for none.
export function t(key, values = {}) {
  const text = languages[current][key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

export const number = (value) => new Intl.NumberFormat(tags[current], { maximumFractionDigits: 2 }).format(value);

export const moment = (seconds) =>
  new Intl.DateTimeFormat(tags[current], { dateStyle: "medium", timeStyle: "short" }).format(seconds * 1000);

export function duration(seconds) {
  if (seconds < 1) return t("seconds", { n: number(Math.round(seconds * 10) / 10) });
  if (seconds < 90) return t("seconds", { n: Math.round(seconds) });
  return t("minutes", { n: Math.round(seconds / 60) });
}

export function fileSize(bytes) {
  return bytes < 1e6 ? `${number(Math.round(bytes / 1e3))} kB` : `${number(Math.round(bytes / 1e5) / 10)} MB`;
}

// Text of the elements that index.html holds.
export function translatePage() {
  document.documentElement.lang = tags[current];
  for (const each of document.querySelectorAll("[data-t]")) each.textContent = t(each.dataset.t);
  for (const each of document.querySelectorAll("[data-t-label]")) each.setAttribute("aria-label", t(each.dataset.tLabel));
  for (const each of document.querySelectorAll("[data-t-placeholder]")) each.placeholder = t(each.dataset.tPlaceholder);
}

export function setLanguage(language) {
  current = language;
  remember("language", language);
  translatePage();
  for (const listener of listeners) listener();
}

export const onLanguage = (listener) => listeners.add(listener);
