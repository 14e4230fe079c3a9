"use strict";

/* First page: what was matched, how well, with what, and what to know about it. */
(function () {
  const { el, t } = Report;
  const BARS = 24;
  const SHOWN = 6;

  function warnings() {
    const run = Report.get("run");
    const pairs = Report.get("pairs");
    const found = [];
    if (run.run.provider === "CPUExecutionProvider") found.push(t("warn_cpu"));
    if (run.run.weights === "vitt16") found.push(t("warn_bundled"));
    const without = pairs.i.filter((count) => count < 0).length;
    if (without) found.push(t("warn_no_model", { n: Report.format.whole(without) }));
    const missing = run.images.filter((image) => !image.picture).length;
    if (missing) found.push(t("warn_pictures", { n: Report.format.whole(missing) }));
    if (!run.maps && !run.problems.some((problem) => problem.code === "graph")) found.push(t("warn_tokens"));
    const more = run.problem_count - run.problems.length;
    // The program's own words are English; those with a code are said here in Korean.
    const told = run.problems.map(({ text, code, values }) => (Report.language() === "en" || !code ? text : t("problem_" + code, values)));
    return found.concat(told, more > 0 ? [t("warn_more", { n: Report.format.whole(more) })] : []);
  }

  function numbers() {
    const { figure } = Report.parts;
    const { whole, percent, milliseconds } = Report.format;
    const run = Report.get("run");
    const { i: counts, p: probabilities } = Report.get("pairs");
    const found = counts.filter((count) => count >= 0).sort((p, q) => p - q);
    const same = probabilities && probabilities.filter((value) => value !== null && Report.format.samePlace(value)).length;
    return el(
      "div.figures", {},
      figure(t("photographs_count"), whole(run.images.length)),
      figure(t("pairs_count"), whole(counts.length)),
      probabilities ? figure(t("same_place"), whole(same), percent(same, counts.length), same ? "good" : "warning") : null,
      figure(t("pairs_with_model"), whole(found.length), percent(found.length, counts.length), found.length ? "good" : "warning"),
      figure(t("median_inliers"), found.length ? whole(found[found.length >> 1]) : "–"),
      figure(t("ms_photograph"), ...milliseconds(run.speed.forward)),
      figure(t("ms_pair"), ...milliseconds(run.speed.total)),
    );
  }

  function bestPairs() {
    const { inlierCount, thumbnail, images, pairs } = Report.parts;
    const judged = pairs().p;
    const rows = Array.from({ length: pairs().i.length }, (_, row) => row).filter((row) => !judged || (judged[row] !== null && Report.format.samePlace(judged[row])));
    if (!rows.length) return el("section", {}, el("h2", {}, t("best_pairs")), el("p.calm", {}, t("no_same_pairs")));
    rows.sort(Report.parts.byRank);
    const cards = rows.slice(0, SHOWN).map((row) =>
      el(
        "a.card", { href: "#/pair/" + row },
        el("div.duo-thumbs", {}, thumbnail(pairs().a[row]), thumbnail(pairs().b[row])),
        el("div.card-name", {}, images()[pairs().a[row]].key, el("span.arrow", {}, " → "), images()[pairs().b[row]].key),
        el("div.card-note", {}, inlierCount(row), " " + t("inliers"), "  ·  ", el("span", {}, Report.parts.verdict(row) || Report.format.percent(Report.parts.inliersOf(row), pairs().m[row]))),
      ),
    );
    return el("section", {}, el("h2", {}, t("best_pairs")), el("div.cards", {}, cards));
  }

  /* Bars of equal width over the inliers, to the 99.5th percentile; the last takes what lies above. */
  function distribution() {
    const { whole } = Report.format;
    const counts = Report.get("pairs").i;
    const found = counts.filter((count) => count >= 0).sort((p, q) => p - q);
    if (!found.length) return null;
    const top = Math.max(1, found[Math.floor((found.length - 1) * 0.995)]);
    const width = Math.max(1, Math.ceil((top + 1) / BARS));
    const bars = new Array(Math.ceil((top + 1) / width)).fill(0);
    found.forEach((count) => (bars[Math.min(bars.length - 1, Math.floor(count / width))] += 1));
    const most = Math.max(...bars);
    const drawn = bars.map((count, at) => {
      const high = at === bars.length - 1 ? found[found.length - 1] : (at + 1) * width - 1;
      const title = t("distribution_label", { n: whole(count), low: whole(at * width), high: whole(high) });
      const bar = el("div.bar", { title, role: "img", "aria-label": title });
      bar.style.height = (count ? Math.max(2, (100 * count) / most) : 0) + "%";
      bar.style.background = Report.format.colour(at / Math.max(1, bars.length - 1));
      return el("div.bar-slot", { title }, bar);
    });
    return el(
      "section", {}, el("h2", {}, t("distribution")),
      el("div.bars", {}, drawn),
      el("div.bar-ends", {}, el("span", {}, "0"), el("span", {}, whole(found[found.length - 1]))),
    );
  }

  function madeWith() {
    const run = Report.get("run");
    const facts = run.run;
    const versions = Object.entries(facts.versions).map(([name, version]) => name + " " + version);
    return el(
      "section", {}, el("h2", {}, t("made_with")),
      Report.parts.definitions([
        [t("data_set"), facts.images], [t("backbone"), facts.weights], [t("checkpoint"), facts.checkpoint], [t("graph"), facts.graph],
        [t("provider"), facts.provider], [t("image_size"), facts.size + " px"], [t("matcher"), facts.mode], [t("filter_row"), facts.filter],
        [t("match_threshold"), facts.settings.match_threshold], [t("max_features"), facts.settings.max_features],
        [t("rotations"), facts.settings.rotations], [t("scales"), (facts.settings.scales || []).join(", ")], [t("refine"), facts.settings.refine],
        [t("run_name"), facts.name], [t("written"), run.created.replace("T", " ").replace("+00:00", " UTC")], [t("program"), run.program],
        [t("versions"), versions.join(", ")],
      ]),
    );
  }

  Report.pages.overview = function () {
    const found = warnings();
    const list = found.length ? el("ul.warnings", {}, found.map((text) => el("li", {}, text))) : el("p.calm", {}, t("no_warnings"));
    const facts = Report.get("run").run;
    const place = facts.images.split(/[\\/]/).filter(Boolean).pop() || t("title");
    return el(
      "div.overview", {},
      el("div.head", {}, el("div", {}, el("h1", {}, place), el("p.subtitle", {}, [facts.weights, facts.mode, facts.filter].filter(Boolean).join("  ·  "))), numbers()),
      bestPairs(), distribution(),
      el("div.columns", {}, el("section", {}, el("h2", {}, t("warnings")), list), madeWith()),
    );
  };
})();
