// Before the first paint, so that a chosen theme does not flash (the modules run after it).
try {
  const theme = localStorage.getItem("glm-image.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be switched off: the system's theme it is.
}
