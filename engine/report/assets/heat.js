"use strict";

/* Patch similarity: a patch of a, and how similar each patch of b is to it. */
(function () {
  const { el, t } = Report;
  const decoded = new Map();
  let opacity = 65;

  /* Tokens of a view of an image: {rows, cols, dim, values: Int8Array, norms: Float32Array}, where they lie in it
     (place: grid to original pixels; back: the other way; centres), and which of them lie on it (real). */
  function decode(name, size) {
    if (decoded.has(name)) return decoded.get(name);
    const { data, dim, place, grid } = Report.get(name);
    const text = atob(data);
    const values = new Int8Array(text.length);
    for (let at = 0; at < text.length; at += 1) values[at] = (text.charCodeAt(at) << 24) >> 24;
    const [rows, cols] = grid;
    const norms = new Float32Array(rows * cols);
    for (let token = 0; token < norms.length; token += 1) {
      let sum = 0;
      for (let at = token * dim; at < (token + 1) * dim; at += 1) sum += values[at] * values[at];
      norms[token] = Math.max(1e-9, Math.sqrt(sum));
    }
    const centres = Array.from(norms, (_, token) => Report.geometry.project(place, (token % cols) + 0.5, Math.floor(token / cols) + 0.5));
    const real = centres.map(([x, y]) => x >= -0.5 && y >= -0.5 && x <= size[0] - 0.5 && y <= size[1] - 0.5);
    if (decoded.size > 6) decoded.delete(decoded.keys().next().value);
    const made = { rows, cols, dim, values, norms, place, back: Report.geometry.invert(place), centres, real };
    decoded.set(name, made);
    return made;
  }

  /* The token whose patch holds a point in original pixels. */
  function tokenAt(tokens, x, y) {
    const [u, v] = Report.geometry.project(tokens.back, x, y);
    const within = (value, count) => Math.min(count - 1, Math.max(0, Math.floor(value + 1e-6)));
    return within(v, tokens.rows) * tokens.cols + within(u, tokens.cols);
  }

  /* Cosine similarity of a token of a with every token of b, row-major. */
  function similarities(a, token, b) {
    const made = new Float32Array(b.rows * b.cols);
    const from = token * a.dim;
    for (let other = 0; other < made.length; other += 1) {
      let sum = 0;
      const to = other * b.dim;
      for (let at = 0; at < a.dim; at += 1) sum += a.values[from + at] * b.values[to + at];
      made[other] = sum / (a.norms[token] * b.norms[other]);
    }
    return made;
  }

  Report.views.heat = function (pair) {
    if (!pair.detail.tokens) return el("p.calm.wide-note", {}, t("no_heat"));
    const photos = { a: Report.photograph(pair, "a"), b: Report.photograph(pair, "b") };
    const marks = { a: el("canvas.over", { id: "heat-a", tabindex: "0", role: "application", "aria-label": t("photograph_a"), "aria-describedby": "heat-line" }), b: el("canvas.over.quiet") };
    const colours = el("canvas.colours", { id: "heat-b" });
    colours.style.opacity = String(opacity / 100);
    const line = el("p.status", { id: "heat-line", "aria-live": "polite" }, t("loading"));
    const duo = el("div.duo", {}, el("figure", {}, el("div.panel", {}, photos.a, marks.a), Report.caption(pair, "a")), el("figure", {}, el("div.panel.cut", {}, photos.b, colours, marks.b), Report.caption(pair, "b")));
    const ends = [el("b", {}, "–"), el("b", {}, "–")];
    const ramp = el("i.ramp");
    ramp.style.background = "linear-gradient(90deg," + [0, 0.25, 0.5, 0.75, 1].map(Report.format.colour).join(",") + ")";
    const slider = Report.parts.slider(t("heat_opacity"), { id: "heat-opacity", min: 0, max: 100, step: 1, value: opacity, show: (value) => value + " %" }, (value) => {
      opacity = value;
      colours.style.opacity = String(value / 100);
    });
    let [a, b, token, high, best] = [null, null, 0, 0, 0];

    function paint() {
      const found = similarities(a, token, b);
      let low = Infinity;
      [high, best] = [-Infinity, 0];
      found.forEach((value, at) => {
        if (!b.real[at]) return;
        low = Math.min(low, value);
        if (value > high) [high, best] = [value, at];
      });
      colours.width = b.cols;
      colours.height = b.rows;
      const context = colours.getContext("2d");
      const image = context.createImageData(b.cols, b.rows);
      found.forEach((value, at) => {
        const rgb = parseInt(Report.format.colour((value - low) / Math.max(1e-9, high - low)).slice(1), 16);
        image.data.set([rgb >> 16, (rgb >> 8) & 255, rgb & 255, 255], 4 * at);
      });
      context.putImageData(image, 0, 0);
      spread();
      ends[0].textContent = low.toFixed(2);
      ends[1].textContent = high.toFixed(2);
      const there = expected();
      const said = [t("heat_result", { s: high.toFixed(3) })];
      if (there) said.push(there.inside ? t("heat_expected", { s: found[tokenAt(b, there.x, there.y)].toFixed(3) }) : t("heat_outside"));
      line.textContent = said.concat(t("heat_help")).join("  ·  ");
      marks.a.dataset.token = String(token);
      marks.b.dataset.best = String(best);
      mark(marks.a, pair.imageA, a, token, null);
      mark(marks.b, pair.imageB, b, best, there);
    }

    /* Lays the colours where the patches are: those of a turned view are turned back. */
    function spread() {
      const scale = photos.b.clientWidth / pair.imageB.size[0];
      const [p, q, x, r, s, y] = b.place;
      colours.style.width = b.cols + "px";
      colours.style.height = b.rows + "px";
      colours.style.transform = "matrix(" + [p, r, q, s, x + 0.5, y + 0.5].map((value) => value * scale).join(",") + ")";
    }

    /* Where the geometry puts the middle of the patch of a. */
    function expected() {
      if (!pair.map) return null;
      const [w, h] = pair.imageA.size;
      const at = Report.geometry.project(pair.map, a.centres[token][0], a.centres[token][1], [w / 2, h / 2]);
      const inside = Boolean(at) && at[0] >= -0.5 && at[1] >= -0.5 && at[0] <= pair.imageB.size[0] - 0.5 && at[1] <= pair.imageB.size[1] - 0.5;
      return inside ? { x: at[0], y: at[1], inside } : { inside };
    }

    function mark(canvas, about, tokens, at, cross) {
      const context = Report.parts.prepare(canvas, canvas.clientWidth, canvas.clientHeight);
      const scale = canvas.clientWidth / about.size[0];
      const on = (point) => [(point[0] + 0.5) * scale, (point[1] + 0.5) * scale];
      const [col, row] = [at % tokens.cols, Math.floor(at / tokens.cols)];
      const border = [[0, 0], [1, 0], [1, 1], [0, 1]].map(([u, v]) => on(Report.geometry.project(tokens.place, col + u, row + v)));
      const lines = [border.concat([border[0]])];
      stroke(context, lines, Report.parts.COLOURS.bright);
      if (!cross || !cross.inside) return;
      const [x, y] = on([cross.x, cross.y]);
      stroke(context, [[[x - 11, y], [x + 11, y]], [[x, y - 11], [x, y + 11]]], Report.parts.COLOURS.outlier);
    }

    function stroke(context, lines, colour) {
      for (const [width, ink] of [[5, Report.parts.COLOURS.halo], [2.4, colour]]) {
        context.lineWidth = width;
        context.strokeStyle = ink;
        context.beginPath();
        for (const points of lines) points.forEach((point, index) => (index ? context.lineTo(...point) : context.moveTo(...point)));
        context.stroke();
      }
    }

    /* Chooses the patch of a that holds a point in original pixels, or lies nearest to it. */
    function move(x, y) {
      const [w, h] = pair.imageA.size;
      token = tokenAt(a, Math.min(w - 1, Math.max(0, x)), Math.min(h - 1, Math.max(0, y)));
      paintSoon();
    }

    const paintSoon = Report.parts.perFrame(() => a && marks.a.isConnected && paint());
    const at = (event) => {
      const box = marks.a.getBoundingClientRect();
      const [w, h] = pair.imageA.size;
      move(((event.clientX - box.left) / box.width) * w - 0.5, ((event.clientY - box.top) / box.height) * h - 0.5);
    };
    marks.a.addEventListener("pointerdown", (event) => {
      if (!a) return;
      marks.a.setPointerCapture(event.pointerId);
      at(event);
    });
    marks.a.addEventListener("pointermove", (event) => a && event.buttons & 1 && at(event));
    marks.a.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step || !a) return;
      event.preventDefault();
      // One patch up, down, left or right on the photograph, however its view is turned.
      const [across, down] = [Math.hypot(a.place[0], a.place[1]), Math.hypot(a.place[3], a.place[4])];
      move(a.centres[token][0] + step[1] * across, a.centres[token][1] + step[0] * down);
    });

    const made = el("div", {}, el("div.controls", {}, slider), el("div.plate-box", {}, duo, el("div.legend", {}, el("span.legend-entry", {}, t("similarity"), ends[0], ramp, ends[1]), pair.map ? el("span.legend-entry", {}, el("b.cross", { "aria-hidden": "true" }, "+"), t("heat_cross")) : null)), line);
    made.inspect = (x, y) => {
      if (x !== undefined) token = tokenAt(a, x, y);
      paint();
      const there = expected();
      return { a: a.centres[token], high, best: b.centres[best], expected: there && there.inside ? [there.x, there.y] : null };
    };
    made.leave = Report.parts.onResize(duo, () => paintSoon());
    made.enter = () => {
      Promise.all(pair.detail.tokens.map(Report.load)).then(
        () => {
          if (!made.isConnected) return;
          [a, b] = [decode(pair.detail.tokens[0], pair.imageA.size), decode(pair.detail.tokens[1], pair.imageB.size)];
          // Begin at the best match of the geometry, where there is something to see.
          const first = 2 * Math.max(0, pair.detail.in.indexOf("1"));
          const middle = [pair.imageA.size[0] / 2, pair.imageA.size[1] / 2];
          move(...(pair.detail.a.length ? pair.detail.a.slice(first, first + 2) : middle));
        },
        (error) => (line.textContent = t("load_failed", { file: error.message })),
      );
    };
    return made;
  };
})();
