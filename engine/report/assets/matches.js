"use strict";

/* Both photographs side by side with the matches drawn across. */
(function () {
  const { el, t } = Report;
  const REACH_PX = 14;
  const choice = { inliers: true, outliers: false };

  function legend(pair, low, high) {
    const { COLOURS } = Report.parts;
    const ramp = el("i.ramp");
    ramp.style.background = "linear-gradient(90deg," + [0, 0.25, 0.5, 0.75, 1].map(Report.format.colour).join(",") + ")";
    const stroke = el("i.stroke");
    stroke.style.background = COLOURS.outlier;
    return el("div.legend", {},
      el("span.legend-entry", {}, t("similarity_of_inliers"), el("b", {}, low.toFixed(2)), ramp, el("b", {}, high.toFixed(2))),
      el("span.legend-entry", {}, stroke, t("show_outliers")),
      pair.map ? el("span.legend-entry", {}, el("i.frame-mark"), t("frame_of_a")) : null);
  }

  Report.views.matches = function (pair) {
    const { detail } = pair;
    const total = detail.s.length;
    const inlier = Array.from(detail.in, (flag) => flag === "1");
    const { COLOURS } = Report.parts;
    const good = detail.s.filter((value, at) => inlier[at]);
    const scale = good.length ? good : detail.s;
    const [low, high] = scale.length ? [Math.min(...scale), Math.max(...scale)] : [0, 1];
    const bottom = total ? Math.floor(Math.min(...detail.s) * 100) / 100 : 0;
    const top = total ? Math.ceil(Math.max(...detail.s) * 100) / 100 : 1;
    const show = { least: bottom, inliers: choice.inliers, outliers: choice.outliers || !good.length };
    const inverse = pair.map ? Report.geometry.invert(pair.map) : null;
    let hovered = -1;
    let pointed = null;
    const photos = { a: Report.photograph(pair, "a"), b: Report.photograph(pair, "b") };
    const canvas = el("canvas.over", { id: "matches", tabindex: "0", role: "application", "aria-label": t("tab_matches"), "aria-describedby": "match-line" });
    const duo = el("div.duo", {}, el("figure", {}, photos.a, Report.caption(pair, "a")), el("figure", {}, photos.b, Report.caption(pair, "b")), canvas);
    const line = el("p.status", { id: "match-line", "aria-live": "polite" }, t("matches_help"));
    const count = el("span.count", { id: "shown" });

    const visible = (at) => detail.s[at] >= show.least - 1e-9 && (inlier[at] ? show.inliers : show.outliers);
    const colour = (at) => (inlier[at] ? Report.format.colour((detail.s[at] - low) / Math.max(1e-9, high - low)) : COLOURS.outlier);

    /* Where the photographs lie on the canvas. */
    function panels() {
      const base = canvas.getBoundingClientRect();
      const made = {};
      for (const [letter, about] of [["a", pair.imageA], ["b", pair.imageB]]) {
        const box = photos[letter].getBoundingClientRect();
        made[letter] = { x: box.left - base.left, y: box.top - base.top, w: box.width, h: box.height, sx: box.width / about.size[0], sy: box.height / about.size[1] };
      }
      return made;
    }

    const place = (panel, x, y) => [panel.x + (x + 0.5) * panel.sx, panel.y + (y + 0.5) * panel.sy];
    const ends = (at, both) => [place(both.a, detail.a[2 * at], detail.a[2 * at + 1]), place(both.b, detail.b[2 * at], detail.b[2 * at + 1])];

    const draw = Report.parts.perFrame(() => {
      if (!canvas.isConnected) return;
      const context = Report.parts.prepare(canvas, duo.clientWidth, duo.clientHeight);
      const both = panels();
      const rows = [];
      for (let at = 0; at < total; at += 1) if (visible(at)) rows.push(at);
      // The best on top, inliers over outliers.
      rows.sort((p, q) => inlier[p] - inlier[q] || detail.s[p] - detail.s[q]);
      count.textContent = t("shown", { n: Report.format.whole(rows.length), all: Report.format.whole(total) });
      const faint = hovered >= 0 ? 0.18 : 1;
      const many = good.length > 300 ? 0.7 : 1;
      for (const at of rows) {
        const [p, q] = ends(at, both);
        if (inlier[at]) stroke(context, p, q, COLOURS.halo, 3.2 * many, 0.45 * faint);
        stroke(context, p, q, colour(at), inlier[at] ? 1.8 * many : 0.8, (inlier[at] ? 0.9 : 0.45) * faint);
      }
      for (const at of rows) for (const point of ends(at, both)) dot(context, point, inlier[at] ? 3.6 : 2.2, colour(at), Math.max(faint, 0.3));
      if (pair.map) frames(context, both);
      if (hovered >= 0) {
        const [p, q] = ends(hovered, both);
        stroke(context, p, q, COLOURS.halo, 6, 0.7);
        stroke(context, p, q, colour(hovered), 3, 1);
        for (const point of [p, q]) {
          ring(context, point, 10);
          dot(context, point, 4.5, colour(hovered), 1);
        }
      } else if (pointed) cross(context, both);
    });

    function stroke(context, p, q, colour_, width, alpha) {
      context.globalAlpha = alpha;
      context.strokeStyle = colour_;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(p[0], p[1]);
      context.lineTo(q[0], q[1]);
      context.stroke();
      context.globalAlpha = 1;
    }

    function dot(context, point, radius, colour_, alpha) {
      context.globalAlpha = alpha;
      context.beginPath();
      context.arc(point[0], point[1], radius, 0, 2 * Math.PI);
      context.fillStyle = colour_;
      context.fill();
      context.lineWidth = 1;
      context.strokeStyle = COLOURS.halo;
      context.stroke();
      context.globalAlpha = 1;
    }

    function ring(context, point, radius) {
      for (const [width, colour_] of [[4.5, COLOURS.halo], [2, COLOURS.bright]]) {
        context.beginPath();
        context.arc(point[0], point[1], radius, 0, 2 * Math.PI);
        context.lineWidth = width;
        context.strokeStyle = colour_;
        context.stroke();
      }
    }

    function clip(context, panel) {
      context.save();
      context.beginPath();
      context.rect(panel.x, panel.y, panel.w, panel.h);
      context.clip();
    }

    /* The border of a around a, and where it falls on b, each with an arrow at its upper side. */
    function frames(context, both) {
      const [w, h] = pair.imageA.size;
      const corners = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]];
      const border = [];
      for (let side = 0; side < 4; side += 1)
        for (let step = 0; step < 32; step += 1) {
          const [from, to] = [corners[side], corners[side + 1]];
          border.push([(from[0] + ((to[0] - from[0]) * step) / 32) * w - 0.5, (from[1] + ((to[1] - from[1]) * step) / 32) * h - 0.5]);
        }
      const reach = 0.016 * Math.min(w, h);
      const arrow = [[(w - 1) / 2, -0.5], [(w - 1) / 2 + reach, 1.8 * reach - 0.5], [(w - 1) / 2 - reach, 1.8 * reach - 0.5]];
      for (const letter of ["a", "b"]) {
        const at = (point) => {
          const moved = letter === "a" ? point : Report.geometry.project(pair.map, point[0], point[1], [w / 2, h / 2]);
          return moved ? place(both[letter], moved[0], moved[1]) : null;
        };
        clip(context, both[letter]);
        const points = border.map(at);
        for (const [width, colour_] of [[4.5, COLOURS.halo], [2.2, COLOURS.bright]]) {
          context.beginPath();
          points.forEach((point, index) => {
            const next = points[(index + 1) % points.length];
            if (!point || !next) return;
            context.moveTo(point[0], point[1]);
            context.lineTo(next[0], next[1]);
          });
          context.lineWidth = width;
          context.strokeStyle = colour_;
          context.stroke();
        }
        const tip = arrow.map(at);
        if (tip.every(Boolean)) {
          context.beginPath();
          tip.forEach((point, index) => (index ? context.lineTo(point[0], point[1]) : context.moveTo(point[0], point[1])));
          context.closePath();
          context.fillStyle = COLOURS.bright;
          context.fill();
        }
        context.restore();
      }
    }

    /* Where the pointer is on one photograph, and where that lies on the other. */
    function cross(context, both) {
      const other = pointed.letter === "a" ? "b" : "a";
      const map = pointed.letter === "a" ? pair.map : inverse;
      const about = pointed.letter === "a" ? pair.imageA : pair.imageB;
      if (!map) return;
      const found = Report.geometry.project(map, pointed.x, pointed.y, [about.size[0] / 2, about.size[1] / 2]);
      const marks = [[pointed.letter, [pointed.x, pointed.y]]];
      if (found) marks.push([other, found]);
      for (const [letter, point] of marks) {
        clip(context, both[letter]);
        ring(context, place(both[letter], point[0], point[1]), 7);
        context.restore();
      }
    }

    function hover(at) {
      if (at === hovered) return;
      hovered = at;
      if (at < 0) line.textContent = t("matches_help");
      else {
        const error = detail.r && detail.r[at] !== null ? t("off_by", { px: Report.format.px(detail.r[at]) }) : "";
        line.textContent = t("match_line", { n: at + 1, s: detail.s[at].toFixed(3), kind: t(inlier[at] ? "kind_inlier" : "kind_outlier"), error });
      }
      canvas.dataset.hovered = String(at);
      draw();
    }

    canvas.addEventListener("pointermove", (event) => {
      const base = canvas.getBoundingClientRect();
      const [x, y] = [event.clientX - base.left, event.clientY - base.top];
      const both = panels();
      let [best, distance] = [-1, REACH_PX * REACH_PX];
      for (let at = 0; at < total; at += 1) {
        if (!visible(at)) continue;
        for (const point of ends(at, both)) {
          const away = (point[0] - x) ** 2 + (point[1] - y) ** 2;
          if (away < distance) [best, distance] = [at, away];
        }
      }
      pointed = null;
      for (const letter of ["a", "b"]) {
        const panel = both[letter];
        if (x >= panel.x && y >= panel.y && x <= panel.x + panel.w && y <= panel.y + panel.h) pointed = { letter, x: (x - panel.x) / panel.sx - 0.5, y: (y - panel.y) / panel.sy - 0.5 };
      }
      hover(best);
      if (best < 0) draw();
    });
    canvas.addEventListener("pointerleave", () => {
      pointed = null;
      hover(-1);
      draw();
    });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hover(-1);
      if (!step) return;
      event.preventDefault();
      for (let at = hovered + step; at >= -1 && at < total; at += step)
        if (at < 0 || visible(at)) return hover(at);
    });

    const change = (values) => {
      Object.assign(show, values);
      if (hovered >= 0 && !visible(hovered)) hover(-1);
      draw();
    };
    const controls = el(
      "div.controls", {},
      Report.parts.slider(t("least_similarity"), { id: "least-similarity", min: bottom, max: top, step: 0.01, value: bottom, show: (value) => value.toFixed(2) }, (value) => change({ least: value })),
      Report.parts.check(t("show_inliers"), "show-inliers", show.inliers, (on) => {
        choice.inliers = on;
        change({ inliers: on });
      }, "inlier"),
      Report.parts.check(t("show_outliers"), "show-outliers", show.outliers, (on) => {
        choice.outliers = on;
        change({ outliers: on });
      }, "outlier"),
      count);
    const made = el("div", {}, controls, el("div.plate-box", {}, duo, legend(pair, low, high)), line);
    const images = duo.querySelectorAll("img");
    images.forEach((image) => image.addEventListener("load", draw));
    made.leave = Report.parts.onResize(duo, draw);
    made.enter = draw;
    made.inspect = (at) => ends(at, panels());
    canvas.inspect = made.inspect;
    return made;
  };
})();
