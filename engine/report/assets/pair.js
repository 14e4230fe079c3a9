"use strict";

/* One pair: its numbers, and a picture of it in one of four ways. */
(function () {
  const { el, t } = Report;
  const TABS = ["matches", "overlay", "checker", "heat"];
  let tab = "matches";

  /* What the four pictures need of a pair. */
  function subject(row, detail) {
    const pairs = Report.get("pairs");
    const images = Report.get("run").images;
    const [a, b] = [pairs.a[row], pairs.b[row]];
    const matrix = detail.model.matrix ? detail.model.matrix.flat() : null;
    return { row, a, b, imageA: images[a], imageB: images[b], detail, matrix, map: detail.model.kind === "point_map" ? matrix : null };
  }

  /* Share of a that the map sends into b, counted on a grid of 40 x 40 points. */
  function coverage(pair) {
    const [w, h] = pair.imageA.size;
    let inside = 0;
    for (let row = 0; row < 40; row += 1)
      for (let col = 0; col < 40; col += 1) {
        const at = Report.geometry.project(pair.map, ((col + 0.5) * w) / 40 - 0.5, ((row + 0.5) * h) / 40 - 0.5, [w / 2, h / 2]);
        if (at && at[0] >= -0.5 && at[1] >= -0.5 && at[0] <= pair.imageB.size[0] - 0.5 && at[1] <= pair.imageB.size[1] - 0.5) inside += 1;
      }
    return inside / 1600;
  }

  /* A view in words: how far it was turned and made smaller. */
  function viewWord([rotation, scale]) {
    const words = [];
    if (rotation) words.push(t("turned", { n: Report.format.number(rotation, 0) }));
    if (scale !== 1) words.push(t("scaled", { n: Number(scale.toFixed(3)) }));
    return words.join(" ") || t("upright");
  }

  /* What search, refinement and verdict found. */
  function searchFacts(pair) {
    const { whole, px, percent } = Report.format;
    const { views, tried, refinement, verdict } = pair.detail;
    const rows = [];
    if (tried > 1) rows.push([t("views"), views.map(viewWord).join(", ")], [t("views_tried"), whole(tried)]);
    if (refinement) {
      const taken = refinement.steps.filter((step) => step.taken && step.px !== null).pop();
      const steps = refinement.steps.map((step) => el("div" + (step.taken ? "" : ".calm"), {}, t("step_line", {
        name: step.name.replaceAll("_", " "), n: whole(step.inliers), all: whole(step.matches),
      }) + (step.px === null ? "" : ", ±\u00a0" + px(step.px) + "\u00a0px") + (step.taken ? "" : ", " + t("step_left"))));
      if (taken) rows.push([t("uncertainty"), "± " + px(taken.px) + " px"]);
      rows.push([t("finer_matches"), whole(refinement.finer)], [t("refinement_steps"), steps.length ? steps : "–"]);
    }
    if (verdict) {
      const share = (value) => (value === null ? "–" : percent(value, 1));
      const [a, b, covered] = verdict.overlap;
      rows.push([t("flags"), verdict.flags.map((name) => t("flag_" + name)).join(", ") || t("no_flags")]);
      rows.push([t("overlap"), share(a) + ", " + share(b)], [t("covered"), share(covered)]);
    }
    return rows;
  }

  function geometryFacts(pair) {
    const { px, number, percent } = Report.format;
    const { model, r } = pair.detail;
    const named = model.name === model.filter ? model.filter : model.filter + ": " + model.name;
    const rows = [[t("model"), model.filter ? named + (pair.matrix ? "" : "  ·  " + t("no_model")) : t("not_verified")], [t("method"), model.method]];
    if (model.threshold !== null) rows.push([t("threshold"), model.threshold + " " + t(model.unit === "original" ? "unit_original" : "unit_encoded")]);
    if (pair.map) {
      const [w, h] = pair.imageA.size;
      const motion = Report.geometry.localMotion(pair.map, (w - 1) / 2, (h - 1) / 2);
      if (motion) rows.push([t("rotation"), number(motion.rotation, 1) + "°"], [t("scale"), number(motion.scale, 3)]);
      if (!pair.detail.verdict) rows.push([t("coverage"), percent(coverage(pair), 1)]);
    }
    const kept = r ? r.filter((value, at) => pair.detail.in[at] === "1" && value !== null) : [];
    if (kept.length) rows.push([t("mean_error"), px(kept.reduce((sum, value) => sum + value, 0) / kept.length) + " px"]);
    rows.push(...searchFacts(pair));
    if (pair.matrix) {
      rows.push([t("matrix"), el("pre", {}, Report.format.matrixText(pair.matrix))]);
    }
    return rows;
  }

  function numberFacts(pair) {
    const { number, whole } = Report.format;
    const { ms, selected } = pair.detail;
    const [gridA, gridB] = pair.detail.grid.map(([rows, cols]) => rows + " × " + cols);
    const time = (value) => (value === undefined ? "–" : number(value, 1) + " ms");
    return [
      [t("similarity_long"), number(Report.get("pairs").c[pair.row], 4)],
      [t("tokens_used"), whole(selected[0]) + ", " + whole(selected[1])], [t("grid"), gridA + ", " + gridB],
      [t("time"), time(ms.total)], [t("encode_times"), time(ms.forward_a) + ", " + time(ms.forward_b)],
    ];
  }

  function downloads(pair) {
    const link = (path, text) => el("a.file", { href: path.split("/").map(encodeURIComponent).join("/"), download: path.split("/").pop(), target: "_blank", rel: "noopener" }, text);
    const { files } = pair.detail;
    const made = [link(files.json, t("download_json"))];
    if (files.png) made.push(link(files.png, t("download_png")));
    if (pair.imageA.picture) made.push(link(Report.parts.copy(pair.a), t("open_a")));
    if (pair.imageB.picture) made.push(link(Report.parts.copy(pair.b), t("open_b")));
    return made;
  }

  function neighbours(row) {
    const order = Report.tableOrder();
    const at = order.indexOf(row);
    const link = (to, text, id) => (to === undefined ? el("span.step.off", {}, text) : el("a.step", { id, href: "#/pair/" + to }, text));
    return el("nav.steps", { "aria-label": t("pairs") }, el("a.step", { href: "#/pairs", id: "back" }, t("back_to_pairs")), link(at > 0 ? order[at - 1] : undefined, "← " + t("previous"), "previous"), link(at >= 0 ? order[at + 1] : undefined, t("next") + " →", "next"));
  }

  function heading(row) {
    const pairs = Report.get("pairs");
    const images = Report.get("run").images;
    const facts = Report.get("run").run;
    const { figure, inlierFigure } = Report.parts;
    const key = (image) => el("a", { href: "#/image/" + image, title: t("partners") }, images[image].key);
    const figures = el("div.figures", {}, figure(t("matches"), Report.format.whole(pairs.m[row])), inlierFigure(row, pairs.m[row]));
    if (pairs.e[row] !== null) figures.append(figure(t("error_in_b"), Report.format.px(pairs.e[row]), "px"));
    figures.append(figure(t("similarity"), Report.format.number(pairs.c[row], 2)));
    const verdict = Report.parts.verdict(row);
    if (verdict) figures.append(figure(t("verdict"), verdict, "", Report.format.samePlace(pairs.p[row]) ? "good" : ""));
    return el("div.head", {}, el("div", {}, el("h1.keys", {}, key(pairs.a[row]), el("span.arrow", {}, " → "), key(pairs.b[row])), el("p.subtitle", {}, [facts.weights, facts.mode, facts.filter].filter(Boolean).join("  ·  "))), figures);
  }

  Report.pages.pair = function (argument) {
    const row = Number(argument);
    const pairs = Report.get("pairs");
    if (!(row >= 0 && row < pairs.a.length)) return Report.pages.pairs();
    Report.lastPair = row;
    const body = el("div.pair-body", { "aria-live": "polite" }, el("p.calm", {}, Report.parts.hasDetail(row) ? t("loading") : t("no_detail")));
    const made = el("div.pair-page", {}, neighbours(row), heading(row), body);
    let leave = null;
    if (!Report.parts.hasDetail(row)) {
      body.append(el("div.duo", {}, Report.parts.thumbnail(pairs.a[row]), Report.parts.thumbnail(pairs.b[row])));
      return made;
    }

    function show(pair) {
      const view = el("div.view", { id: "view", role: "tabpanel" });
      const buttons = TABS.map((name) => el("button", { type: "button", role: "tab", id: "tab-" + name, "aria-controls": "view", onclick: () => choose(name) }, t("tab_" + name)));
      function choose(name) {
        tab = name;
        if (leave) leave();
        TABS.forEach((other, at) => {
          buttons[at].setAttribute("aria-selected", String(other === name));
          buttons[at].tabIndex = other === name ? 0 : -1;
        });
        const drawn = Report.views[name](pair);
        view.replaceChildren(drawn);
        leave = drawn.leave || null;
        if (drawn.enter) drawn.enter();
      }
      const tabs = el("div.tabs", { role: "tablist", onkeydown: (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const at = (TABS.indexOf(tab) + step + TABS.length) % TABS.length;
        choose(TABS[at]);
        buttons[at].focus();
        event.preventDefault();
      } }, buttons);
      body.replaceChildren(tabs, view, el("div.columns.three", {},
        el("section", {}, el("h2", {}, t("geometry")), Report.parts.definitions(geometryFacts(pair))),
        el("section", {}, el("h2", {}, t("numbers")), Report.parts.definitions(numberFacts(pair))),
        el("section", {}, el("h2", {}, t("downloads")), el("div.files", {}, downloads(pair)))));
      choose(tab);
    }

    made.enter = () => {
      Report.load("pair/" + row).then(
        (detail) => made.isConnected && show(subject(row, detail)),
        (error) => body.replaceChildren(el("p.calm", {}, t("load_failed", { file: error.message }))),
      );
    };
    made.leave = () => leave && leave();
    return made;
  };

  /* A photograph of a pair, or a plate of its shape where it is missing. */
  Report.photograph = function (pair, letter) {
    const [image, about] = letter === "a" ? [pair.a, pair.imageA] : [pair.b, pair.imageB];
    const made = about.picture ? el("img.photo", { src: Report.parts.copy(image), alt: letter + ": " + about.key, draggable: "false", "data-letter": letter }) : el("div.photo.missing", { "data-letter": letter }, t("no_picture"));
    made.style.aspectRatio = about.size[0] + " / " + about.size[1];
    return made;
  };

  Report.caption = function (pair, letter) {
    const about = letter === "a" ? pair.imageA : pair.imageB;
    const { whole } = Report.format;
    return el("figcaption", {}, el("b", {}, letter), " " + about.file + "  ·  " + whole(about.size[0]) + " × " + whole(about.size[1]) + " px");
  };
})();
