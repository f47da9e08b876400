// Light or dark: what the system says, until the visitor says otherwise. Runs before anything is
// drawn, so it is a classic script in the head.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try {
      return localStorage.getItem("omnishot-theme");
    } catch {
      return null; // storage is switched off
    }
  };
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  if (stored() === "dark" || stored() === "light") root.dataset.theme = stored();

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => {
      button.setAttribute("aria-pressed", String(isDark()));
    };
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try {
        localStorage.setItem("omnishot-theme", root.dataset.theme);
      } catch {
        // It holds for this visit.
      }
      show();
    });
    system.addEventListener("change", show);
    show();
  });
})();
