"use strict";

/* What the map of pairs shows: which pair lies in which cell, in which colour, and how to read it. */
(function () {
  const { el, t } = Report;
  const SAME = "#5ec962";
  const OTHER = "#4a66a8";
  const LIGHT = { plate: "#ffffff", panel: "#e9ecf0", rule: "#c4cad2", bright: "#1b1f25", dim: "#5d6773", none: "#e2b4bc" };
  let kept = null;

  /* Rows and columns of the map, and which pair lies in which cell. */
  function layout() {
    if (kept) return kept;
    const pairs = Report.get("pairs");
    const axis = (column) => Array.from(new Set(column)).sort((p, q) => p - q);
    const [rows, cols] = [axis(pairs.a), axis(pairs.b)];
    const place = (list) => new Map(list.map((image, at) => [image, at]));
    const [rowOf, colOf] = [place(rows), place(cols)];
    const count = pairs.a.length;
    const [row, col] = [new Int32Array(count), new Int32Array(count)];
    const cells = new Map();
    for (let at = 0; at < count; at += 1) {
      row[at] = rowOf.get(pairs.a[at]);
      col[at] = colOf.get(pairs.b[at]);
      cells.set(row[at] * cols.length + col[at], at);
    }
    kept = { rows, cols, row, col, cells, rowGroups: groups(rows), colGroups: groups(cols) };
    return kept;
  }

  /* Colours of what is not on the scale, for the theme in use. */
  const ground = () => (document.documentElement.dataset.theme === "light" ? LIGHT : Report.parts.COLOURS);

  function groups(list) {
    const images = Report.get("run").images;
    const found = [];
    list.forEach((image, at) => {
      const name = images[image].group;
      if (!found.length || found[found.length - 1].name !== name) found.push({ name, from: at, to: at + 1 });
      else found[found.length - 1].to = at + 1;
    });
    return found;
  }

  /* Colour of each pair as the four bytes of a pixel, the order to paint in (best last), and the ends of the scale. */
  function paint(mode) {
    const pairs = Report.get("pairs");
    const count = pairs.a.length;
    const values = new Float32Array(count);
    for (let at = 0; at < count; at += 1) {
      if (mode === "similarity") values[at] = pairs.c[at] === null ? NaN : pairs.c[at];
      else if (mode === "verdict") values[at] = pairs.p[at] === null ? NaN : pairs.p[at];
      else if (pairs.i[at] < 0) values[at] = NaN;
      else values[at] = mode === "share" ? pairs.i[at] / Math.max(1, pairs.m[at]) : pairs.i[at];
    }
    const finite = values.filter((value) => !Number.isNaN(value)).sort();
    const low = mode === "similarity" && finite.length ? finite[0] : 0;
    const high = finite.length ? Math.max(finite[finite.length - 1], low + 1e-6) : 1;
    const pixels = new Uint32Array(count);
    const shade = new Uint32Array(256);
    for (let level = 0; level < 256; level += 1) shade[level] = bytes(Report.format.colour(level / 255));
    const none = bytes(ground().none);
    for (let at = 0; at < count; at += 1) {
      const value = values[at];
      if (Number.isNaN(value)) pixels[at] = none;
      else if (mode === "verdict") pixels[at] = bytes(Report.format.samePlace(value) ? SAME : OTHER);
      else {
        const part = (value - low) / (high - low);
        pixels[at] = shade[Math.round(255 * (mode === "similarity" ? part : Math.sqrt(part)))];
      }
    }
    const order = Uint32Array.from({ length: count }, (_, at) => at);
    const rank = values.map((value) => (Number.isNaN(value) ? -Infinity : value));
    order.sort((p, q) => (rank[p] === rank[q] ? 0 : rank[p] < rank[q] ? -1 : 1));
    return { mode, pixels, order, low, high, values };
  }

  function bytes(colour) {
    const value = parseInt(colour.slice(1), 16);
    return (0xff000000 | ((value & 0xff) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
  }

  function legend(painted) {
    const { mode } = painted;
    const colours = ground();
    const entry = (colour, text) => {
      const box = el("i.swatch");
      box.style.background = colour;
      return el("span.legend-entry", {}, box, text);
    };
    const made = el("div.legend");
    if (mode === "verdict") {
      made.append(entry(SAME, t("same_place")), entry(OTHER, t("other_place")));
      if (Report.get("pairs").p.includes(null)) made.append(entry(colours.none, t("no_verdict")));
      made.append(entry(colours.panel, t("not_matched")));
      return made;
    }
    const show = (value) => (mode === "inliers" ? Report.format.whole(value) : mode === "share" ? Math.round(100 * value) + " %" : value.toFixed(2));
    const ramp = el("i.ramp");
    ramp.style.background = "linear-gradient(90deg," + [0, 0.25, 0.5, 0.75, 1].map(Report.format.colour).join(",") + ")";
    made.append(el("span.legend-entry", {}, el("b", {}, show(painted.low)), ramp, el("b", {}, show(painted.high))));
    if (mode !== "similarity") made.append(entry(colours.none, t("no_model")));
    made.append(entry(colours.panel, t("not_matched")));
    return made;
  }

  Report.cells = { layout, paint, legend, bytes, ground };
})();
