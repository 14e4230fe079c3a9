"use strict";

/* The registry that data files fill, and small helpers for elements. Text reaches the page as text only. */
window.Report = (function () {
  const KEPT = 40;
  const data = new Map();
  const loading = new Map();

  /* Called by data files. */
  function put(name, value) {
    data.set(name, value);
  }

  function get(name) {
    return data.get(name);
  }

  /* Loads data/NAME.js once; the latest few stay in memory. A page opened from a folder may not fetch, but load scripts. */
  function load(name) {
    if (data.has(name)) return Promise.resolve(data.get(name));
    if (loading.has(name)) return loading.get(name);
    const promise = new Promise(function (resolve, reject) {
      const script = document.createElement("script");
      const end = function () {
        loading.delete(name);
        script.remove();
        if (!data.has(name)) return reject(new Error("data/" + name + ".js"));
        forgetOldest();
        return resolve(data.get(name));
      };
      script.onload = end;
      script.onerror = end;
      script.src = "data/" + name + ".js";
      document.head.append(script);
    });
    loading.set(name, promise);
    return promise;
  }

  function forgetOldest() {
    const optional = Array.from(data.keys()).filter((name) => name.includes("/"));
    optional.slice(0, Math.max(0, optional.length - KEPT)).forEach((name) => data.delete(name));
  }

  /* el("a.card", {href: "#", onclick: f}, "text", child, …). Strings become text, never markup. */
  function el(kind, attributes) {
    const [tag, ...classes] = kind.split(".");
    const made = document.createElement(tag || "div");
    if (classes.length) made.className = classes.join(" ");
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (name === "value" || name === "checked") made[name] = value;
      else made.setAttribute(name, value === true ? "" : String(value));
    }
    add(made, Array.prototype.slice.call(arguments, 2));
    return made;
  }

  function add(parent, children) {
    for (const child of children) {
      if (Array.isArray(child)) add(parent, child);
      else if (child !== null && child !== undefined && child !== false) parent.append(child);
    }
  }

  /* What a browser remembers from visit to visit; some refuse it for pages opened from a folder. */
  function remember(name, value) {
    try {
      localStorage.setItem("dinov3-match." + name, value);
    } catch (refused) {
      return;
    }
  }

  function recall(name) {
    try {
      return localStorage.getItem("dinov3-match." + name);
    } catch (refused) {
      return null;
    }
  }

  return { put, get, load, el, remember, recall, pages: {}, views: {} };
})();
