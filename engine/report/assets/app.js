"use strict";

/* Puts the page together: bar, language, light and dark, and which page the address asks for. */
(function () {
  const { el, t } = Report;
  const NAMES = ["overview", "map", "pairs", "photographs"];
  const bar = document.getElementById("bar");
  const page = document.getElementById("page");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const LISTS = ["overview", "photographs"];
  const scrolled = new Map();
  let current = null;

  function theme() {
    return Report.recall("theme") || (dark.matches ? "dark" : "light");
  }

  function showTheme(name) {
    document.documentElement.dataset.theme = name;
    window.dispatchEvent(new Event("themechange"));
  }

  function route() {
    const [name, argument] = location.hash.replace(/^#\/?/, "").split("/");
    return { name: Object.prototype.hasOwnProperty.call(Report.pages, name) ? name : "overview", argument };
  }

  function drawBar(name) {
    const owner = { pair: "pairs", image: "photographs" }[name] || name;
    const links = NAMES.map((entry) => el("a", { href: "#/" + entry, id: "nav-" + entry, "aria-current": entry === owner ? "page" : null }, t(entry)));
    bar.replaceChildren(
      el("span.brand", {}, "dinov3-match"), el("nav", { "aria-label": t("title") }, links),
      el("span.buttons", {},
        el("button", { type: "button", id: "language", "aria-label": t("other_language_label"), onclick: () => {
          const top = window.scrollY;
          Report.switchLanguage();
          draw();
          document.getElementById("language").focus({ preventScroll: true });
          requestAnimationFrame(() => window.scrollTo(0, top));
        } }, t("other_language")),
        el("button.round", { type: "button", id: "theme", "aria-label": t("theme"), title: t("theme"), onclick: () => {
          const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
          Report.remember("theme", next);
          showTheme(next);
        } }, "◐")));
  }

  /* What the page is about: a pair and a photograph by their names. */
  function titleOf(name, argument) {
    if (name === "pair" && argument in Report.get("pairs").a) return Report.parts.pairName(argument);
    if (name === "image" && argument in Report.get("run").images) return Report.get("run").images[argument].key;
    return t(name === "pair" ? "pairs" : name === "image" ? "photographs" : name);
  }

  function draw() {
    if (current && current.leave) current.leave();
    const { name, argument } = route();
    document.documentElement.lang = Report.language();
    document.title = titleOf(name, argument) + " · dinov3-match";
    drawBar(name);
    current = Report.pages[name](argument);
    page.replaceChildren(current);
    page.dataset.page = name;
    if (current.enter) current.enter();
  }

  showTheme(theme());
  dark.addEventListener("change", () => showTheme(theme()));
  const missing = ["run", "pairs"].filter((name) => !Report.get(name));
  if (missing.length) {
    page.replaceChildren(el("p.calm.wide-note", {}, t("load_failed", { file: missing.map((name) => "data/" + name + ".js").join(", ") })));
    return;
  }
  /* Lists come back as they were left; what is new begins at its top. The keyboard goes on inside the page. */
  history.scrollRestoration = "manual";
  window.addEventListener("hashchange", () => {
    scrolled.set(page.dataset.page, window.scrollY);
    draw();
    (current.focusPlace || page).focus({ preventScroll: true });
    const { name } = route();
    window.scrollTo(0, (LISTS.includes(name) && scrolled.get(name)) || 0);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || route().name !== "pair" || event.target.closest("canvas")) return;
    location.hash = "#/pairs";
  });
  draw();
})();
