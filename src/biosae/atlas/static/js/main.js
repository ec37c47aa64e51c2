// Routes (#/feature/12), navigation, keys and the colour theme.
"use strict";

(() => {
  const { el, link } = dom;
  const pages = { "": overviewPage, features: featuresPage, feature: featurePage, genes: genesPage, gene: genesPage, labels: labelsPage, label: labelsPage, steering: steeringPage, stability: stabilityPage, comparison: comparisonPage };
  const content = document.getElementById("content");
  let core = null;
  let shown = 0;
  let searching = false;

  function place() {
    const [page = "", ...parts] = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
    return { page, parts };
  }

  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a stray % in a link typed by hand
    }
  }

  function navigation(page) {
    const entries = [["", "Overview"], ["features", "Features"]];
    if (core.labels.length) entries.push(["labels", "Labels"]);
    if (core.genes.names.length > 1) entries.push(["genes", core.token === "gene" ? "Genes" : "Residues"]);
    if (core.has.steering) entries.push(["steering", "Steering"]);
    if (stabilityPage.has(core)) entries.push(["stability", "Stability"]);
    if (core.has.comparison) entries.push(["comparison", "Comparison"]);
    const current = (name) => (name === page || (page && name === `${page}s`) ? "page" : null);
    document.getElementById("navigation").replaceChildren(...entries.map(([name, text]) => link(`#/${name}`, text, { "aria-current": current(name) })));
  }

  async function show() {
    const turn = ++shown;
    const { page, parts } = place();
    let view;
    try {
      if (!Object.hasOwn(pages, page)) throw new Error(`No page ${page}.`);
      view = await pages[page].render(core, parts);
    } catch (error) {
      view = el("div", null, el("h1", null, "Not here"), el("p", { class: "lead" }, error.message), link("#/", "Overview"));
    }
    if (turn !== shown) return; // a later click came first
    navigation(page);
    content.replaceChildren(view);
    window.scrollTo(0, 0);
    if (searching) document.getElementById("search")?.focus();
    searching = false;
    document.title = `${Object.hasOwn(pages, page) ? pages[page].title(parts) : "Not here"} · feature atlas`;
    document.documentElement.dataset.page = location.hash || "#/";
  }

  function keys(event) {
    const typing = /INPUT|SELECT|TEXTAREA/.test(event.target.tagName);
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") {
      event.preventDefault();
      const box = document.getElementById("search");
      if (box) return box.focus();
      searching = true; // once the list is there
      location.hash = "#/features";
    }
    if (event.key === "ArrowLeft") document.querySelector("a[rel=prev]")?.click();
    if (event.key === "ArrowRight") document.querySelector("a[rel=next]")?.click();
  }

  function theme() {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const set = (dark) => {
      document.documentElement.dataset.theme = dark ? "dark" : "light";
      window.dispatchEvent(new Event("theme"));
    };
    set(system.matches);
    system.addEventListener("change", () => set(system.matches));
    document.getElementById("theme").addEventListener("click", () => set(document.documentElement.dataset.theme !== "dark"));
  }

  async function start() {
    theme();
    try {
      core = await biosae.load("core");
    } catch (error) {
      return content.replaceChildren(el("p", null, error.message));
    }
    const { settings } = core.overview;
    document.getElementById("footer").textContent = `${settings.model.name}, layer ${settings.model.layer} · ${settings.data.name} · ${settings.sae.variant} · biosae ${settings.biosae} · ${dom.when(settings.created)}`;
    window.addEventListener("hashchange", show);
    window.addEventListener("keydown", keys);
    await show();
    document.documentElement.dataset.ready = "true";
  }

  start();
})();
