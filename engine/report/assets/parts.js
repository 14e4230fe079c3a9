"use strict";

/* Parts that several pages share: the run's tables, thumbnails, figures, canvases. */
(function () {
  const { el, t } = Report;

  const two = (value, digits) => String(value).padStart(digits, "0");
  const thumb = (image) => "thumbs/" + two(image, 5) + ".jpg";
  const copy = (image) => "images/" + two(image, 5) + ".jpg";
  const images = () => Report.get("run").images;
  const pairs = () => Report.get("pairs");
  const hasDetail = (row) => pairs().d[row] === "1";

  /* Inliers of a pair; 0 where there is no model (-1 in the data). */
  const inliersOf = (row) => Math.max(0, pairs().i[row]);

  const pairName = (row) => images()[pairs().a[row]].key + " → " + images()[pairs().b[row]].key;

  /* Verdict of a pair with its certainty; empty where it has none. */
  function verdict(row) {
    const probability = pairs().p ? pairs().p[row] : null;
    if (probability === null) return "";
    return t(Report.format.samePlace(probability) ? "same_place" : "other_place") + " " + Report.format.certainty(probability);
  }

  /* Order of pairs, best first: those of one place by their verdict, then by inliers, then by matches. */
  function byRank(p, q) {
    const { i, m, p: probability } = pairs();
    const same = (row) => Number(Boolean(probability) && probability[row] !== null && Report.format.samePlace(probability[row]));
    return same(q) - same(p) || i[q] - i[p] || m[q] - m[p];
  }

  /* "good" where inliers speak for a pair: those of another place, by its verdict, are no good sign. */
  function praise(row) {
    const { p: probability, i } = pairs();
    if (i[row] <= 0) return "";
    return !probability || (probability[row] !== null && Report.format.samePlace(probability[row])) ? "good" : "";
  }

  /* Inliers of a pair in the colour that its verdict gives them. */
  const inlierCount = (row) => el("b" + (praise(row) && ".good"), {}, Report.format.whole(inliersOf(row)));

  /* Thumbnails load once they are within a screen of the visible part. The browser's own `loading="lazy"` looks ahead
     by thousands of pixels, more on a slow connection: on a page of all photographs it would load most of them. */
  const nearby = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      nearby.unobserve(target);
      target.src = target.dataset.src;
    }
  }, { rootMargin: "100%" });

  function thumbnail(image) {
    if (!images()[image].picture) return el("span.thumb.missing", { title: t("no_picture") });
    const made = el("img.thumb", { alt: "", decoding: "async", draggable: "false" });
    made.dataset.src = thumb(image);
    nearby.observe(made);
    return made;
  }

  /* A large number with its label, as in the header of the program's pictures. */
  function figure(label, value, suffix, kind) {
    return el("div.figure", {}, el("div.value" + (kind ? "." + kind : ""), {}, value, suffix ? el("small", {}, " " + suffix) : null), el("div.label", {}, label));
  }

  function inlierFigure(row, matches) {
    const count = pairs().i[row];
    if (count < 0) return figure(t("inliers"), t("no_model_found"), "", "warning");
    return figure(t("inliers"), Report.format.whole(count), Report.format.percent(count, matches), count ? praise(row) : "warning");
  }

  function definitions(rows) {
    const list = el("dl.facts");
    for (const [name, value] of rows) {
      if (value === null || value === undefined || value === "") continue;
      list.append(el("div", {}, el("dt", {}, name), el("dd", {}, value)));
    }
    return list;
  }

  function slider(label, options, onInput) {
    const shown = el("output", {}, options.show(options.value));
    const input = el("input", {
      type: "range", min: options.min, max: options.max, step: options.step, id: options.id, value: options.value,
      oninput: () => {
        shown.textContent = options.show(Number(input.value));
        onInput(Number(input.value));
      },
    });
    input.value = options.value;
    const made = el("label.slider", {}, el("span", {}, label), input, shown);
    made.set = (value) => {
      input.value = value;
      shown.textContent = options.show(value);
    };
    return made;
  }

  function check(label, id, checked, onChange, kind) {
    const input = el("input", { type: "checkbox", id, checked, onchange: () => onChange(input.checked) });
    return el("label.check" + (kind ? "." + kind : ""), {}, input, el("span", {}, label));
  }

  /* Gives a canvas as many pixels as the screen has there; returns its context, in CSS pixels. */
  function prepare(canvas, width, height) {
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
    if (canvas.width !== w || canvas.height !== h) {
      canvas.width = w;
      canvas.height = h;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  }

  /* Calls `draw` after `element` has changed its size, until the page that owns it is left. */
  function onResize(element, draw) {
    const observer = new ResizeObserver(() => requestAnimationFrame(() => element.isConnected && draw()));
    observer.observe(element);
    return () => observer.disconnect();
  }

  /* At most one call of `draw` per frame, however often it is asked for. */
  function perFrame(draw) {
    let asked = false;
    return function () {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        draw();
      });
    };
  }

  const COLOURS = {
    plate: "#111418", panel: "#1c2026", rule: "#343a42", bright: "#f0f3f7", dim: "#96a0ad",
    halo: "#0c0e10", outlier: "#eb5462", warning: "#ffb03b", good: "#5ec962", none: "#4a2c34",
  };

  Report.parts = {
    thumb, copy, images, pairs, hasDetail, inliersOf, pairName, verdict, byRank, praise, inlierCount, thumbnail, figure, inlierFigure, definitions, slider, check,
    prepare, onResize, perFrame, COLOURS,
  };
})();

/* The most inliers of any pair: the full width of the table's meters. */
Report.parts.mostInliers = (function () {
  let most = 0;
  return function () {
    if (!most) for (const count of Report.get("pairs").i) most = Math.max(most, count);
    return Math.max(1, most);
  };
})();
