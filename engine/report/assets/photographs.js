"use strict";

/* All photographs, and one with its best partners. */
(function () {
  const { el, t } = Report;
  const PARTNERS = 60;
  const SLICE = 120;
  let filter = "";
  let height = 0;

  function pairsOf(image) {
    const pairs = Report.get("pairs");
    const rows = [];
    for (let row = 0; row < pairs.a.length; row += 1) if (pairs.a[row] === image || pairs.b[row] === image) rows.push(row);
    return rows.sort(Report.parts.byRank);
  }

  /* The best pair of each photograph; -1 where it takes part in none. */
  function bestPairs() {
    const pairs = Report.get("pairs");
    const best = new Array(Report.get("run").images.length).fill(-1);
    for (let row = 0; row < pairs.a.length; row += 1)
      for (const image of [pairs.a[row], pairs.b[row]]) if (best[image] < 0 || Report.parts.byRank(row, best[image]) < 0) best[image] = row;
    return best;
  }

  /* Inliers of a photograph's best pair, or that it has none worth the name. */
  function bestNote(row) {
    const judged = Report.get("pairs").p;
    if (judged && (row < 0 || judged[row] === null || !Report.format.samePlace(judged[row]))) return t("no_same");
    return [row < 0 ? "0" : Report.parts.inlierCount(row), " " + t("inliers")];
  }

  Report.pages.photographs = function () {
    const images = Report.get("run").images;
    const best = bestPairs();
    const count = el("span.count", { "aria-live": "polite" });
    const place = el("div");
    const text = el("input", { type: "search", id: "photograph-filter", placeholder: t("filter_hint"), value: filter, oninput: () => {
      filter = text.value;
      draw();
    } });

    const card = (at) =>
      el("a.card.small", { href: "#/image/" + at }, Report.parts.thumbnail(at), el("div.card-name", {}, images[at].key), el("div.card-note", {}, bestNote(best[at])));

    /* Cards come slice by slice, a frame each, so that no number of photographs holds the page up. Until all are there
       the page is as high as it was, so that one who comes back is where they were. */
    function draw() {
      const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
      const shown = [];
      images.forEach((image, at) => {
        const name = (image.key + " " + image.file).toLowerCase();
        if (words.every((word) => name.includes(word))) shown.push(at);
      });
      const sections = new Map();
      const all = el("div");
      let done = 0;
      function addSlice() {
        for (const at of shown.slice(done, (done += SLICE))) {
          const group = images[at].group;
          if (!sections.has(group)) {
            sections.set(group, el("div.cards"));
            all.append(el("section", {}, el("h2", {}, group || t("photographs")), sections.get(group)));
          }
          sections.get(group).append(card(at));
        }
        if (done < shown.length) return requestAnimationFrame(() => all.isConnected && addSlice());
        place.style.minHeight = "";
        height = place.offsetHeight;
      }
      place.style.minHeight = height + "px";
      addSlice();
      place.replaceChildren(all);
      count.textContent = t("of_photographs", { n: Report.format.whole(shown.length), all: Report.format.whole(images.length) });
    }

    draw();
    return el("div", {}, el("div.controls", {}, el("label.field", {}, el("span", {}, t("filter")), text), count), place);
  };

  Report.pages.image = function (argument) {
    const image = Number(argument);
    const about = Report.get("run").images[image];
    if (!about) return Report.pages.photographs();
    const pairs = Report.get("pairs");
    const { whole, percent } = Report.format;
    const rows = pairsOf(image);
    const cards = rows.slice(0, PARTNERS).map((row) => {
      const other = pairs.a[row] === image ? pairs.b[row] : pairs.a[row];
      const note = pairs.i[row] < 0 ? [el("span.warning", {}, t("no_model"))] : [Report.parts.inlierCount(row), " " + t("inliers") + "  ·  ", el("span", {}, Report.parts.verdict(row) || percent(pairs.i[row], pairs.m[row]))];
      return el("a.card.small", { href: "#/pair/" + row }, Report.parts.thumbnail(other), el("div.card-name", {}, Report.get("run").images[other].key), el("div.card-note", {}, note));
    });
    const withCopy = rows.some(Report.parts.hasDetail) && about.picture;
    const picture = about.picture ? el("img", { src: withCopy ? Report.parts.copy(image) : Report.parts.thumb(image), alt: about.key }) : el("p.calm", {}, t("no_picture"));
    const more = el("a.more", { href: "#/pairs", onclick: () => Report.showOnly(about.file) }, t("partners_more", { n: whole(rows.length) }));
    return el(
      "div.image-page", {},
      el("div.head", {}, el("div", {}, el("h1", {}, about.key), el("p.subtitle", {}, about.file + "  ·  " + whole(about.size[0]) + " × " + whole(about.size[1]) + " px"))),
      el("div.columns.wide", {}, el("div.photo-plate", {}, picture), el("section.partners", {}, el("h2", {}, t("partners")), el("div.cards", {}, cards), more)),
    );
  };
})();
