"use strict";
// Draws the charts anew with values to point at, sorts tables, shows and hides arms, and shows examples. All that users
// wrote is set as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = new DOMParser().parseFromString("<svg/>", "text/html").querySelector("svg").namespaceURI;
  const DASHES = ["", "6 3", "8 3 2 3", "2 3", "6 2 2 2 2 2"];
  const hidden = new Set();
  const redraws = [];

  const fill = (element, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element.append(...children), element;
  };
  const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
  const draw = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
  const place = (arm) => Math.max(0, data.arms.indexOf(arm));
  const colour = (arm) => data.colours[place(arm) % data.colours.length];
  const dash = (arm) => DASHES[place(arm) % DASHES.length];
  const fixed = (value) => (Math.abs(value) < 0.005 ? 0 : value).toFixed(2);
  const cut = (text, width) => (text.length * 6.6 > width ? `${text.slice(0, Math.max(3, width / 6.6 - 1))}…` : text);
  const choice = (label, options, change) => {
    const select = make("select", {}, ...options.map(([value, text]) => make("option", { value }, text)));
    select.addEventListener("change", change);
    return [select, make("label", {}, `${label} `, select)];
  };

  const nearest = (places, at) =>
    places.reduce((best, each, i) => (Math.abs(each - at) < Math.abs(places[best] - at) ? i : best), 0);

  // ---- axes
  const KINDS = {
    linear: (value) => value,
    log: (value) => Math.log10(value),
    symlog: (value) => (Math.abs(value) <= 1 ? value : Math.sign(value) * (1 + Math.log10(Math.abs(value)))),
  };
  const scale = (values, from, to, kind) => {
    const turn = KINDS[kind];
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (low === high) [low, high] = kind === "log" ? [low / 1.1, high * 1.1] : [low - 0.5, high + 0.5];
    const margin = (turn(high) - turn(low)) * 0.05;
    const [start, end] = [turn(low) - margin, turn(high) + margin];
    const at = (value) => from + ((turn(value) - start) / (end - start)) * (to - from);
    at.ticks = thin(kind === "linear" ? steps(start, end, Math.abs(to - from)) : powers(low, high), at);
    return at;
  };
  const steps = (low, high, length) => {
    const rough = (high - low) / Math.max(2, length / 55);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
    const ticks = [];
    for (let i = Math.ceil(low / step); i * step <= high; i += 1) ticks.push(Number((i * step).toPrecision(12)));
    return ticks;
  };
  const powers = (low, high) => {
    const sizes = [];
    for (let power = -4; power <= 6; power += 1) for (const each of [1, 2, 5]) sizes.push(Number(`${each}e${power}`));
    const both = [0, ...sizes, ...sizes.map((size) => -size)].filter((value) => value >= low && value <= high);
    return both.sort((one, other) => one - other);
  };
  const thin = (ticks, at) => {
    const kept = [];
    for (const tick of [...ticks].sort((one, other) => Math.abs(one) - Math.abs(other)))
      if (kept.every((each) => Math.abs(at(each) - at(tick)) >= 28)) kept.push(tick);
    return kept;
  };
  const picture = (width, height, label) =>
    draw("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });

  // ---- a dot a seed
  const drawDots = (chart, width, label, say) => {
    const narrow = Math.min(190, width * 0.36);
    const svg = picture(width, 10, label);
    let top = 4;
    for (const strip of chart.strips) {
      const rows = strip.rows.filter((row) => !hidden.has(row.arm));
      if (strip.title) {
        svg.append(draw("text", { x: 0, y: top + 12, "font-weight": 600 }, cut(strip.title, width)));
        top += 20;
      }
      const high = rows.some((row) => row.note) ? 34 : 24;
      const bottom = top + rows.length * high;
      const every = rows.flatMap((row) => [...row.values, row.low ?? row.mean, row.high ?? row.mean]).concat(strip.line);
      const sizes = rows.map((row) => Math.abs(row.mean - strip.line)).sort((one, other) => one - other);
      const far = strip.line === 0 && sizes.at(-1) > 8 * Math.max(sizes[Math.floor(sizes.length / 2)], 0.1);
      const ends = strip.reversed ? [width - 56, narrow + 8] : [narrow + 8, width - 56];
      const at = scale(every, ...ends, far ? "symlog" : "linear");
      for (const tick of at.ticks)
        svg.append(
          draw("line", { class: "axis", x1: at(tick), x2: at(tick), y1: top, y2: bottom }),
          draw("text", { class: "faint", x: at(tick), y: bottom + 14, "text-anchor": "middle" }, `${tick}`),
        );
      svg.append(draw("line", { class: "line", x1: at(strip.line), x2: at(strip.line), y1: top, y2: bottom }));
      rows.forEach((row, index) => svg.append(dotRow(row, strip, top + (index + 0.5) * high, at, narrow, width, say)));
      const about = `${strip.label}${far ? ", logarithmic beyond 1" : ""}`;
      svg.append(draw("text", { class: "faint", x: 0, y: bottom + 30 }, cut(about, width)));
      top = bottom + 42;
    }
    svg.setAttribute("viewBox", `0 0 ${width} ${top}`);
    return svg;
  };
  const dotRow = (row, strip, y, at, narrow, width, say) => {
    const range = row.low === null ? "" : `, ${fixed(row.low)} to ${fixed(row.high)}`;
    const seeds = row.values.map((value, i) => `seed ${strip.seeds[i]}: ${fixed(value)}`).join(", ");
    const mean = `${strip.line === 0 && row.mean > 0 ? "+" : ""}${fixed(row.mean)}`;
    const told = `${row.arm}${row.note ? ` (${row.note})` : ""}: mean ${mean}${range}; ${seeds}`;
    const group = draw("g", { tabindex: 0, role: "img", "aria-label": told });
    for (const event of ["mouseenter", "focus", "click"]) group.addEventListener(event, () => say(told));
    group.append(
      draw("rect", { x: 0, y: y - 12, width, height: 24, fill: "transparent" }),
      draw("text", { x: 0, y: row.note ? y - 2 : y + 4 }, cut(row.arm, narrow)),
      draw("text", { x: width, y: y + 4, "text-anchor": "end" }, mean),
    );
    if (row.note)
      group.append(draw("text", { x: 0, y: y + 12, class: row.tone || "faint", "font-size": 11 }, cut(row.note, narrow)));
    const paint = { stroke: colour(row.arm), fill: colour(row.arm) };
    row.values.forEach((value, i) => {
      const lift = row.values.length > 1 ? (i / (row.values.length - 1) - 0.5) * 8 : 0;
      group.append(draw("circle", { cx: at(value), cy: y + lift, r: 3.2, fill: paint.fill, opacity: 0.6 }));
    });
    if (row.low !== null)
      group.append(draw("line", { x1: at(row.low), x2: at(row.high), y1: y, y2: y, "stroke-width": 2, ...paint }));
    group.append(draw("line", { x1: at(row.mean), x2: at(row.mean), y1: y - 8, y2: y + 8, "stroke-width": 2.4, ...paint }));
    return group;
  };

  // ---- learning curves
  const drawCurves = (chart, width, label, say, axis) => {
    const curves = chart.curves.filter((curve) => !hidden.has(curve.arm));
    const height = 250;
    const svg = picture(width, height, label);
    if (!curves.length) return svg;
    const every = curves.flatMap((curve) => [...curve.low, ...curve.high]);
    const log = Math.min(...every) > 0 && Math.max(...every) >= 5 * Math.min(...every);
    const x = scale(curves.flatMap((curve) => curve.x[axis]), 46, width - 10, "linear");
    const y = scale(every, height - 36, 20, log ? "log" : "linear");
    for (const tick of x.ticks)
      svg.append(draw("text", { class: "faint", x: x(tick), y: height - 20, "text-anchor": "middle" }, `${tick}`));
    for (const tick of y.ticks)
      svg.append(
        draw("line", { class: "axis", x1: 46, x2: width - 10, y1: y(tick), y2: y(tick) }),
        draw("text", { class: "faint", x: 40, y: y(tick) + 4, "text-anchor": "end" }, `${tick}`),
      );
    svg.append(
      draw("text", { class: "faint", x: 0, y: 12 }, cut(`${chart.label}${log ? ", log scale" : ""}`, width)),
      draw("text", { class: "faint", x: width - 10, y: height - 4, "text-anchor": "end" }, axis),
    );
    for (const curve of curves) {
      const points = (values) => values.map((value, i) => `${x(curve.x[axis][i])},${y(value)}`);
      const band = [...points(curve.low), ...points(curve.high).reverse()].join(" ");
      const line = { fill: "none", stroke: colour(curve.arm), "stroke-width": 1.8, "stroke-dasharray": dash(curve.arm) };
      svg.append(
        draw("polygon", { points: band, fill: colour(curve.arm), opacity: 0.15 }),
        draw("polyline", { points: points(curve.mean).join(" "), ...line }),
      );
      if (curve.mean.length === 1)
        svg.append(draw("circle", { cx: x(curve.x[axis][0]), cy: y(curve.mean[0]), r: 3, fill: colour(curve.arm) }));
    }
    const stops = [...new Set(curves.flatMap((curve) => curve.x[axis]))].sort((one, other) => one - other);
    const cursor = draw("line", { class: "line", y1: 20, y2: height - 36, x1: -9, x2: -9 });
    svg.append(cursor);
    let stop = -1;
    const move = (index) => {
      stop = Math.max(0, Math.min(stops.length - 1, index));
      const at = stops[stop];
      for (const side of ["x1", "x2"]) cursor.setAttribute(side, x(at));
      const within = curves.filter((curve) => curve.x[axis][0] <= at && curve.x[axis].at(-1) >= at);
      const read = within.map((curve) => `${curve.arm} ${fixed(curve.mean[nearest(curve.x[axis], at)])}`);
      say(`${axis} ${Number(at.toFixed(1))}: ${read.join(", ")}`);
    };
    svg.setAttribute("tabindex", 0);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${label} The left and right arrow keys read values.`);
    svg.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      move(stop + by);
    });
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      move(nearest(stops.map(x), ((event.clientX - box.left) / box.width) * width));
    });
    return svg;
  };

  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    const chart = data.charts[Number(figure.dataset.chart)];
    const reading = make("p", { class: "reading", "aria-live": "polite" });
    const axes = chart.kind === "curves" ? Object.keys(chart.curves[0].x) : [];
    const redraw = () => {
      const width = Math.max(280, figure.clientWidth);
      const say = (text) => { reading.textContent = text; };
      const caption = figure.querySelector("figcaption").textContent;
      const svg = chart.kind === "dots" ? drawDots(chart, width, caption, say) : drawCurves(chart, width, caption, say, select.value);
      figure.querySelector("svg").replaceWith(svg);
    };
    const [select, label] = choice("By", axes.map((axis) => [axis, axis]), redraw);
    if (axes.length > 1) figure.prepend(label);
    figure.querySelector("figcaption").before(reading);
    redraws.push(redraw);
  }

  // ---- arms to show and hide
  const rowsOf = [...document.querySelectorAll("tbody tr")].filter((row) => data.arms.includes(row.cells[0].textContent));
  const show = () => {
    for (const row of rowsOf) row.hidden = hidden.has(row.cells[0].textContent);
    for (const redraw of redraws) redraw();
  };
  if (data.arms.length > 1) {
    const set = make("fieldset", { class: "arms" }, make("legend", {}, "Arms shown"));
    for (const arm of data.arms) {
      const button = make("button", { type: "button", "aria-pressed": "true", title: arm }, arm);
      button.style.setProperty("--arm", colour(arm));
      button.addEventListener("click", () => {
        if (!hidden.delete(arm)) hidden.add(arm);
        button.setAttribute("aria-pressed", String(!hidden.has(arm)));
        show();
      });
      set.append(button);
    }
    (document.querySelector(".figures") ?? document.querySelector("h1")).after(set);
  }

  // ---- tables to sort
  const number = (text) => text.replaceAll("−", "-").replaceAll(",", "").match(/[-+]?\d+(\.\d+)?(e-?\d+)?/)?.[0];
  for (const table of document.querySelectorAll(".scroll table")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((cell, index) => {
      const button = make("button", { type: "button" }, cell.textContent);
      cell.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = cell.getAttribute("aria-sort") !== "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", up ? "ascending" : "descending");
        const numeric = cell.classList.contains("number");
        const key = (row) => (numeric ? number(row.cells[index].textContent) : row.cells[index].textContent);
        const compare = (one, other) => (numeric ? one - other : one.localeCompare(other)) * (up ? 1 : -1);
        const rows = [...body.rows].sort((one, other) =>  // what is empty comes last, either way
          key(one) && key(other) ? compare(key(one), key(other)) : Boolean(key(other)) - Boolean(key(one)));
        body.append(...rows);
      });
    });
  }

  // ---- examples: an output's symbols against the reference's, by the longest common subsequence
  const compared = (output, reference) => {
    const [one, other] = [output, reference];
    if (one.length * other.length > 250000) return one.map((symbol) => ["", symbol]);
    const table = Array.from({ length: one.length + 1 }, () => new Uint16Array(other.length + 1));
    for (let i = one.length - 1; i >= 0; i -= 1)
      for (let j = other.length - 1; j >= 0; j -= 1)
        table[i][j] = one[i] === other[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    const parts = [];
    for (let i = 0, j = 0; i < one.length || j < other.length; ) {
      if (i < one.length && j < other.length && one[i] === other[j]) {
        parts.push(["", one[i]]);
        [i, j] = [i + 1, j + 1];
      } else if (j >= other.length || (i < one.length && table[i + 1][j] >= table[i][j + 1])) parts.push(["mark", one[i++]]);
      else parts.push(["del", other[j++]]);
    }
    return parts;
  };
  const symbols = (text) => (text ? text.split(" ") : []);
  const marked = (output, reference) => {
    const box = make("bdi", { dir: "auto" });
    for (const [kind, symbol] of compared(symbols(output), symbols(reference)))
      box.append(kind ? make(kind, {}, symbol) : symbol, " ");
    return box;
  };
  const PAGE = 10;
  for (const box of document.querySelectorAll("[data-browser]")) {
    const { arms, seeds, baseline, examples } = data.browsers[Number(box.dataset.browser)];
    const of = (example, arm) => example.outputs[example.chosen[arms.indexOf(arm)][seeds.indexOf(Number(seed.value))]];
    const right = (example, arm) => of(example, arm).edits === 0;
    const shown = () => arms.filter((arm) => !hidden.has(arm));
    const kept = (example) => {
      const [kind, arm] = [filter.value.slice(0, 1), arms[Number(filter.value.slice(1))]];
      if (kind === "d") return new Set(shown().map((each) => of(example, each).text)).size > 1;
      if (kind === "o") return right(example, arm) && shown().every((each) => each === arm || !right(example, each));
      if (kind === "w") return shown().every((each) => !right(example, each));
      return true;
    };
    const gain = (example, arm) => of(example, baseline).edits - of(example, arm).edits;
    let first = 0;
    const list = make("div");
    const status = make("p", { class: "note", role: "status" });
    const refresh = () => {
      const found = examples.filter(kept);
      const arm = arms[Number(order.value)];
      if (arm) found.sort((one, other) => gain(other, arm) - gain(one, arm));
      first = Math.max(0, Math.min(first, Math.floor((found.length - 1) / PAGE) * PAGE));
      const last = Math.min(first + PAGE, found.length);
      status.textContent = found.length ? `${first + 1} to ${last} of ${found.length} examples` : "No example is like this.";
      list.replaceChildren(...found.slice(first, last).map(card));
      [back.disabled, on.disabled] = [first === 0, last === found.length];
    };
    const card = (example) => {
      const lines = make("dl", {}, make("dt", {}, "source"), make("dd", {}, make("bdi", { dir: "auto" }, example.source)));
      for (const reference of example.references)
        lines.append(make("dt", {}, "reference"), make("dd", {}, make("bdi", { dir: "auto" }, reference)));
      for (const arm of shown()) {
        const output = of(example, arm);
        const verdict = output.edits ? `${output.edits} ${output.edits === 1 ? "edit" : "edits"}` : "right";
        lines.append(make("dt", {}, arm), make("dd", {}, marked(output.text, example.references[output.nearest] ?? ""), make("small", {}, ` ${verdict}`)));
      }
      return make("article", { class: "example", "aria-label": `Example ${example.number}` }, lines);
    };
    const again = () => { first = 0; refresh(); };
    const only = arms.map((arm, i) => [`o${i}`, `only ${arm} is right`]);
    const [filter, filters] = choice("Show", [["a", "all examples"], ["d", "arms disagree"], ...only, ["w", "all arms are wrong"]], again);
    const gains = arms.flatMap((arm, i) => (arm === baseline ? [] : [[`${i}`, `gain of ${arm} over ${baseline}`]]));
    const [order, orders] = choice("Sort by", [["", "order in the test set"], ...gains], again);
    const [seed, every] = choice("Seed", seeds.map((each) => [`${each}`, `${each}`]), again);
    const step = (text, by) => {
      const button = make("button", { type: "button" }, text);
      button.addEventListener("click", () => { first += by; refresh(); });
      return button;
    };
    const [back, on] = [step("← Previous", -PAGE), step("Next →", PAGE)];
    box.replaceChildren(make("div", { class: "controls" }, filters, orders, every, back, on), status, list);
    redraws.push(refresh);
  }

  const fit = () => {
    for (const box of document.querySelectorAll(".scroll")) {
      const wide = box.scrollWidth > box.clientWidth + 1;
      box.classList.toggle("wide", wide);
      if (wide) box.setAttribute("tabindex", "0");
      else box.removeAttribute("tabindex");
    }
  };
  let known = 0;
  const resized = () => {
    if (known !== document.body.clientWidth) show();
    known = document.body.clientWidth;
    fit();
  };
  window.addEventListener("resize", resized);
  resized();
})();
